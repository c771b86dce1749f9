"""How much of a prompt a server need not read again: at best, and as its cache will have it.

- ideal: the longest beginning shared with anything sent before, whatever the cache;
- expected: what is left of it under the rules of mlx-lm's cache. It keeps `sequences` token sequences (prompt and
  answer as one) and drops the one stored first; it cuts a longer sequence back to the shared part where the model's
  layers allow that, and else needs a stored sequence that is a whole beginning of the prompt. One token is always
  computed.

An answer is stored as the tokens that were written. Read again as text they may be others (`"` and `}}` become `"}}`),
and a server that streams does not tell them: who predicts from the text is then off by the last few tokens of an
answer. `benchmarks/lab/prediction.py` has the server tell them.

Source: mlx_lm/models/cache.py (PromptTrie, LRUPromptCache) and mlx_lm/server.py, 0.32.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from anyclaude_lab.engine.serve.prefixes import LEAST_TOKENS

Tokens = npt.NDArray[np.int32]
SEQUENCES = 10  # mlx_lm.server --prompt-cache-size
KINDS = ("assistant", "user", "system")  # of stored sequences, in the order in which they are given up


def tokens_of(ids: Sequence[int]) -> Tokens:
    """Token ids as an array."""
    return np.asarray(ids, dtype=np.int32)


def shared_tokens(first: Tokens, second: Tokens) -> int:
    """The length of the common beginning."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length


@dataclass(slots=True)
class IdealCache:
    """Forgets nothing."""

    _sent: list[Tokens] = field(default_factory=list)

    def reused(self, prompt: Tokens) -> int:
        """Tokens of `prompt` that something stored begins with."""
        return max((shared_tokens(prompt, old) for old in self._sent), default=0)

    def store(self, prompt: Tokens, stored: Tokens) -> None:
        """Take in what was sent, and what the cache then holds: the prompt with its answer."""
        self._sent.append(stored)


@dataclass(slots=True)
class MlxCache:
    """The cache of one `mlx_lm.server`.

    `trimmable`: ordinary attention layers. False: recurrent or hybrid layers, whose state cannot be cut back.
    `window_tokens`: of rotating (sliding window) layers, which can be cut back until they have wrapped.
    """

    sequences: int = SEQUENCES
    trimmable: bool = True
    window_tokens: int | None = None
    _held: dict[bytes, tuple[Tokens, str]] = field(default_factory=dict)  # with their kind, in the order of storing

    def reused(self, prompt: Tokens) -> int:
        """`cached_tokens` that the server will report for `prompt`."""
        shared = [(shared_tokens(prompt, held), held) for held, _ in self._held.values()]
        whole = max((tokens for tokens, held in shared if tokens == len(held) > 1), default=0)
        most = max((tokens for tokens, _ in shared), default=0)
        if most > whole:
            cut = min((held for tokens, held in shared if tokens == most), key=len)  # it looks at no other
            whole = most if self._can_cut(cut) else whole
        return min(whole, max(0, len(prompt) - 1))

    def store(self, prompt: Tokens, stored: Tokens, *, system_tokens: int = 0, by_user: bool = False) -> None:
        """The request is over; `stored` is the prompt with the tokens of its answer.

        `by_user`: its last message is a user's, not a tool's; the server then also stores where the system prompt,
        of `system_tokens`, ends. What can be cut has no use for that, so both matter to other layers alone.
        """
        reused = self.reused(prompt)
        if by_user and reused < system_tokens:
            self._insert(prompt[:system_tokens], "system")
        if reused < len(prompt) - 1:
            self._insert(prompt[:-1], "user" if by_user else "assistant")
        self._insert(stored, "assistant")

    def _insert(self, sequence: Tokens, kind: str) -> None:
        key = sequence.tobytes()
        self._held.pop(key, None)
        if self._can_cut(sequence):
            self._held = {k: held for k, held in self._held.items() if not key.startswith(k)}
        self._held[key] = sequence, kind
        if len(self._held) > self.sequences:
            del self._held[self._first_to_go()]

    def _first_to_go(self) -> bytes:
        """Of each kind the one stored first; a kind is spared while the one before it has as many."""
        queues = [[key for key, (_, kind) in self._held.items() if kind == wanted] for wanted in KINDS]
        for queue, spared in pairwise(queues):
            if queue and len(queue) >= len(spared):
                return queue[0]
        return queues[-1][0]

    def _can_cut(self, held: Tokens) -> bool:
        return self.trimmable and (self.window_tokens is None or len(held) < self.window_tokens)


@dataclass(slots=True)
class EngineCache(IdealCache):
    """That of our own engine, for a run that fits in its memory: a beginning of a few tokens counts as nothing."""

    def reused(self, prompt: Tokens) -> int:
        """`cached_tokens` that the engine will report for `prompt`."""
        reused = min(IdealCache.reused(self, prompt), max(0, len(prompt) - 1))
        return reused if reused >= LEAST_TOKENS else 0

    def store(self, prompt: Tokens, stored: Tokens, *, system_tokens: int = 0, by_user: bool = False) -> None:
        """As `MlxCache.store`; where the system prompt ends does not matter here."""
        IdealCache.store(self, prompt, stored)


def cache_efficiency(reported: Sequence[int | None], expected: Sequence[int]) -> float | None:
    """Reported by expected reuse, over the turns that report: well below 1 is a problem of serving."""
    known = [(r, e) for r, e in zip(reported, expected, strict=True) if r is not None]
    total = sum(e for _, e in known)
    return sum(r for r, _ in known) / total if total else None
