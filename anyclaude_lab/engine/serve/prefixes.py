"""Which computed prefixes are kept, found and given up. PURE: no clock, no arrays; a prefix is its token ids.

Policy. What is found is the longest prefix, whoever computed it; lanes are labels. What is given up, when the bytes do
not fit, goes in three ranks, each from the least recently used on:

    side calls   (titles, probes, extractions): they never push out anything but each other
    conversations
    heads        (system prompt and tools): every new session, subagent and compaction starts from one

A prefix that a longer one can stand in for is dropped at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

LEAST_TOKENS = 16  # every prompt of a model begins with the same few; having them in common means nothing
LINE_ENTRIES = 2  # of one growing conversation whose state cannot be cut: its last two stable ends


class Rank(IntEnum):
    """What a prefix is good for; the lowest goes first."""

    SIDE = 0
    CONVERSATION = 1
    HEAD = 2


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids, packed so that long prompts compare at memory speed."""

    packed: bytes

    @classmethod
    def of(cls, ids: Sequence[int]) -> Tokens:
        return cls(array("i", ids).tobytes())

    def __len__(self) -> int:
        return len(self.packed) // 4

    def first(self, count: int) -> Tokens:
        return Tokens(self.packed[: 4 * count])

    def starts_with(self, other: Tokens) -> bool:
        return self.packed.startswith(other.packed)

    def common(self, other: Tokens) -> int:
        """How many leading ids are the same."""
        low, high = 0, min(len(self), len(other))
        while low < high:
            middle = (low + high + 1) // 2
            if self.packed[4 * low : 4 * middle] == other.packed[4 * low : 4 * middle]:
                low = middle
            else:
                high = middle - 1
        return low


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept prefix. `cuttable`: its state can be cut shorter; else it serves only what begins with all of it.

    `asked_tokens`: how many of its tokens were a prompt; the rest was generated.
    """

    id: int
    tokens: Tokens
    size_bytes: int
    rank: Rank = Rank.CONVERSATION
    cuttable: bool = True
    asked_tokens: int = 0
    lane: str = ""

    def serves(self, prompt: Tokens) -> int:
        """How many tokens of `prompt` need not be computed; at least its last one must be."""
        if self.cuttable:
            return min(self.tokens.common(prompt), max(0, len(prompt) - 1))
        return len(self.tokens) if len(self.tokens) < len(prompt) and prompt.starts_with(self.tokens) else 0

    def stands_in_for(self, other: Entry) -> bool:
        """Whether it serves every prompt that `other` serves, and will not be given up before it."""
        if self.rank < other.rank and not (other.rank is Rank.HEAD and self.rank is Rank.CONVERSATION):
            return False
        return self.tokens == other.tokens or (self.cuttable and self.tokens.starts_with(other.tokens))


@dataclass(frozen=True, slots=True)
class Match:
    """The entry that serves most of a prompt, and how many tokens of it."""

    entry: Entry
    tokens: int


@dataclass(slots=True)
class PrefixIndex:
    """The kept prefixes, the least recently used first. Who holds the arrays drops those whose ids are returned."""

    dropped_for_room: int = 0
    _entries: dict[int, Entry] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self)

    def find(self, prompt: Tokens) -> Match | None:
        """What serves most of `prompt`; of equals the one that has to be cut least."""
        found = [Match(entry, served) for entry in self if (served := entry.serves(prompt))]
        return max(found, key=lambda match: (match.tokens, -len(match.entry.tokens)), default=None)

    def used(self, entry_id: int) -> None:
        """It is the most recently used now."""
        self._entries[entry_id] = self._entries.pop(entry_id)

    def remove(self, entry_id: int) -> None:
        """Its arrays were taken out, or are gone."""
        self._entries.pop(entry_id, None)

    def put(self, entry: Entry, budget_bytes: int) -> list[int]:
        """Keep `entry`. Returns the ids that are not kept any more; its own may be among them."""
        superseded = [old for old in self if entry.stands_in_for(old)]
        if any(old.rank is Rank.HEAD and old.tokens == entry.tokens for old in superseded):
            entry = replace(entry, rank=Rank.HEAD)
        if not entry.cuttable:
            superseded += self._outgrown(entry)
        gone = list(dict.fromkeys(old.id for old in superseded))
        for entry_id in gone:
            self.remove(entry_id)
        self._entries[entry.id] = entry
        return gone + self.fit(budget_bytes)

    def fit(self, budget_bytes: int) -> list[int]:
        """Give up entries until the rest fits. Returns their ids."""
        gone: list[int] = []
        size_bytes = self.size_bytes
        while size_bytes > budget_bytes and self._entries:
            victim = min(self, key=lambda entry: entry.rank)  # of equal rank the least recently used comes first
            size_bytes -= victim.size_bytes
            self.remove(victim.id)
            gone.append(victim.id)
        self.dropped_for_room += len(gone)
        return gone

    def _outgrown(self, entry: Entry) -> list[Entry]:
        """Earlier ends of the same conversation, but for the last ones."""
        line = [old for old in self if old.rank is entry.rank and not old.cuttable and old.tokens != entry.tokens]
        line = sorted((old for old in line if entry.tokens.starts_with(old.tokens)), key=lambda old: len(old.tokens))
        return line[: max(0, len(line) - LINE_ENTRIES)]
