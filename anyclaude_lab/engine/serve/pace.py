"""How many tokens one prefill step takes, so that a step lasts no longer than others should wait. PURE."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low

STEP_S = 0.25
SIZES = (64, 128, 256, 512, 1024, 2048)
# On a CPU larger steps are slower: what is masked is computed too, and scores outgrow the processor's caches.
CPU_SIZES = SIZES[:3]
CAUTION = 0.8  # a machine has other work
FELT_TOKENS = 1024  # behind fewer tokens than that attention costs next to nothing


@dataclass(slots=True)
class Pace:
    """Learns from every full step; a new conversation begins where the last one was.

    The median of the last five counts: a machine that was busy for a moment must not end in tiny steps, each of which
    costs more than its tokens. A step is taken to slow down as its context grows, as if attention were all of it.
    """

    step_s: float = STEP_S
    sizes: Sequence[int] = SIZES
    _tokens: int = 256
    _steps: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=5))  # (context, seconds a token)

    def step_tokens(self, context: int = 0) -> int:
        """The largest size that should end in time behind `context` tokens.

        At most one size above the last, so that no guess is far out.
        """
        if not self._steps:
            return self._tokens
        next_up = self.sizes[: self.sizes.index(self._tokens) + 2]
        fitting = [size for size in next_up if self._lasts_s(size, context) <= self.step_s * CAUTION]
        return max(fitting, default=self.sizes[0])

    def took(self, tokens: int, seconds: float, context: int = 0) -> None:
        """A step of a known size behind `context` tokens was measured; cut ones say little."""
        if tokens in self.sizes and seconds > 0:
            self._tokens = tokens
            self._steps.append((context + tokens, seconds / tokens))

    def _lasts_s(self, size: int, context: int) -> float:
        end = context + size
        return size * median_low(each_s * max(1.0, end / max(seen, FELT_TOKENS)) for seen, each_s in self._steps)
