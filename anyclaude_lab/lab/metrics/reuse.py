"""How much of a prompt a server need not read again: at best, and as its cache will have it.

- ideal: the longest beginning shared with anything sent before, whatever the cache;
- expected: what is left of it under the rules of mlx-lm's cache. It keeps `sequences` token sequences (prompt and
  answer as one) and drops the one stored first; it cuts a longer sequence back to the shared part where the model's
  layers allow that, and else needs a stored sequence that is a whole beginning of the prompt. One token is always
  computed.

Source: mlx_lm/models/cache.py (LRUPromptCache) and mlx_lm/server.py, 0.32.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]
SEQUENCES = 10  # mlx_lm.server --prompt-cache-size


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
    _held: list[Tokens] = field(default_factory=list)  # in the order they were stored

    def reused(self, prompt: Tokens) -> int:
        """`cached_tokens` that the server will report for `prompt`."""
        whole = cut = 0
        for held in self._held:
            shared = shared_tokens(prompt, held)
            if shared == len(held):
                whole = max(whole, shared)
            elif self._can_cut(held):
                cut = max(cut, shared)
        return min(max(whole, cut), max(0, len(prompt) - 1))

    def store(self, prompt: Tokens, stored: Tokens) -> None:
        """The request is over: prompt and answer are one sequence; what it continues is dropped where it can be cut."""
        new = [stored] if self.trimmable else [prompt, stored]
        for sequence in new:
            if self._can_cut(sequence):
                self._held = [held for held in self._held if shared_tokens(held, sequence) < len(held)]
            self._held.append(sequence)
        self._held = self._held[-self.sequences :]

    def _can_cut(self, held: Tokens) -> bool:
        return self.trimmable and (self.window_tokens is None or len(held) < self.window_tokens)


def cache_efficiency(reported: Sequence[int | None], expected: Sequence[int]) -> float | None:
    """Reported by expected reuse, over the turns that report: well below 1 is a problem of serving."""
    known = [(r, e) for r, e in zip(reported, expected, strict=True) if r is not None]
    total = sum(e for _, e in known)
    return sum(r for r, _ in known) / total if total else None
