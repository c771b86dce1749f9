"""Computed prefixes in memory and on disk: where a prompt starts, and what stays of it. For the generation thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

from anyclaude_lab.engine.serve import kv
from anyclaude_lab.engine.serve.disk import PrefixFolder, digest
from anyclaude_lab.engine.serve.prefixes import LEAST_TOKENS, Entry, PrefixIndex, Rank, Tokens
from anyclaude_lab.engine.serve.state_file import load_state, small_copy, write_state

LEAST_HEAD_TOKENS = 256  # a shorter head is computed as fast as it is read


@dataclass(frozen=True, slots=True)
class Start:
    """A state that the rest of a prompt is computed upon, and how many tokens of it are there already."""

    state: kv.State
    tokens: int
    source: Literal["memory", "disk", "nothing"]


@dataclass(slots=True)
class RoundTrips:
    """How often a generated turn came back as other tokens than were generated, and what that cost."""

    turns: int = 0
    diverged: int = 0
    tokens_lost: int = 0


@dataclass(slots=True)
class PrefixStore:
    """See `prefixes.py` for what is kept and what is given up."""

    fresh: Callable[[], kv.State]
    budget_bytes: int
    folder: PrefixFolder | None = None
    disk_bits: int | None = None  # None: as computed
    index: PrefixIndex = field(default_factory=PrefixIndex)
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    from_disk: int = 0
    _states: dict[int, kv.State] = field(default_factory=dict)
    _ids: count[int] = field(default_factory=count)
    _heads: dict[Tokens, None] = field(default_factory=dict)  # to be written when there is time
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "prefix writer"))
    _written: Future[bool] | None = None

    def served(self, prompt: Tokens) -> int:
        """How many tokens `start` would find."""
        match, card = self.index.find(prompt), self.folder.find(prompt) if self.folder else None
        return max(match.tokens if match else 0, card.tokens if card else 0)

    def start(self, prompt: Tokens, rank: Rank) -> Start:
        """The longest prefix there is. The end of a conversation that goes on is handed over, all else is copied."""
        match = self.index.find(prompt)
        if disk := self._read(prompt, match.tokens if match else 0):
            return disk
        if match is None or match.tokens < LEAST_TOKENS:
            return Start(self.fresh(), 0, "nothing")
        entry, state = match.entry, self._states[match.entry.id]
        self._compare(entry, match.tokens, prompt)
        goes_on = entry.cuttable and entry.rank <= rank and match.tokens >= entry.asked_tokens - 1
        if goes_on:
            self._forget([entry.id])
            self.index.remove(entry.id)
            kv.cut(state, match.tokens, len(entry.tokens))
        else:
            self.index.used(entry.id)
            state = kv.first(state, match.tokens, len(entry.tokens))
        return Start(state, match.tokens, "memory")

    def keep(self, tokens: Tokens, state: kv.State, rank: Rank, *, asked_tokens: int, lane: str = "") -> None:
        """`state` stands for `tokens` and is ours from now on."""
        if not len(tokens):
            return
        size, cuttable = kv.size_bytes(state), kv.cuttable(state)
        entry = Entry(next(self._ids), tokens, size, rank, cuttable, asked_tokens, lane)
        self._states[entry.id] = state
        self._forget(self.index.put(entry, self.budget_bytes))

    def make_room(self, live_bytes: int) -> None:
        """Give up what does not fit beside the states that are being worked on."""
        self._forget(self.index.fit(max(0, self.budget_bytes - live_bytes)))

    # -- disk ----------------------------------------------------------------------------------------------------

    def want_on_disk(self, head: Tokens) -> None:
        """A head that should outlive the process; written by `write_heads`."""
        if self.folder is not None and len(head) >= LEAST_HEAD_TOKENS and not self.folder.has(head):
            self._heads[head] = None

    @property
    def unwritten(self) -> int:
        """How many heads wait to be written, or are being written."""
        return len(self._heads) + (self._written is not None and not self._written.done())

    def write_heads(self) -> None:
        """Begin to write one head, if there is one and no other is being written. For when nobody waits."""
        if not self._heads or (self._written is not None and not self._written.done()):
            return
        head = next(iter(self._heads))
        del self._heads[head]
        one_more = Tokens(head.packed + bytes(4))
        match = self.index.find(one_more)
        if self.folder is None or match is None or match.tokens < len(head):
            return
        state = kv.first(self._states[match.entry.id], len(head), len(match.entry.tokens))
        dtype = kv.dtype_name(state)
        small = small_copy(state, self.disk_bits)
        write = partial(write_state, tokens=head, small=small, dtype=dtype)
        self._written = self._writer.submit(self.folder.write, head, write, kv.size_bytes(small))

    def warm(self) -> int:
        """Read heads into memory, the most recently used first, as long as they fit in half of it. Returns how many."""
        loaded = 0
        for card in list(self.folder.newest()) if self.folder else []:
            if self.index.size_bytes + card.size_bytes > self.budget_bytes // 2:
                break
            found = self.folder.read(card, self._load) if self.folder else None
            if found is not None:
                tokens, state = found
                self.keep(tokens, state, Rank.HEAD, asked_tokens=len(tokens))
                loaded += 1
        return loaded

    def close(self) -> None:
        """Write what still waits to be written."""
        while self._heads:
            if self._written is not None:
                self._written.result()
            self.write_heads()
        self._writer.shutdown(wait=True)

    def _read(self, prompt: Tokens, better_than: int) -> Start | None:
        card = self.folder.find(prompt) if self.folder else None
        if self.folder is None or card is None or card.tokens <= better_than:
            return None
        found = self.folder.read(card, self._load)
        if found is None:
            return None
        tokens, state = found
        self.from_disk += 1
        if not kv.grows_only(state):  # cannot be cut out of what grows upon it
            self.keep(tokens, kv.first(state, len(tokens), len(tokens)), Rank.HEAD, asked_tokens=len(tokens))
        return Start(state, len(tokens), "disk")

    def _load(self, path: Path) -> tuple[Tokens, kv.State]:
        """Raises what mlx raises where the file cannot be read, and ValueError where it holds the state of another
        prefix, or of other layers."""
        tokens, state = load_state(path)
        if digest(tokens) != path.stem or not kv.alike(state, self.fresh(), len(tokens)):
            raise ValueError("the state of something else")
        return tokens, state

    def _compare(self, entry: Entry, common: int, prompt: Tokens) -> None:
        """A prompt that goes on behind a generated turn shows whether the turn came back as it was."""
        generated = len(entry.tokens) - entry.asked_tokens
        if generated <= 0 or common < entry.asked_tokens or len(prompt) <= len(entry.tokens):
            return
        self.round_trips.turns += 1
        if common < len(entry.tokens):
            self.round_trips.diverged += 1
            self.round_trips.tokens_lost += len(entry.tokens) - common

    def _forget(self, ids: list[int]) -> None:
        for entry_id in ids:
            self._states.pop(entry_id, None)
