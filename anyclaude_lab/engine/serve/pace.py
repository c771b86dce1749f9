"""How many tokens one prefill step takes, so that a step lasts no longer than others should wait. PURE."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

STEP_S = 0.25
SIZES = (64, 128, 256, 512, 1024, 2048)
CAUTION = 0.8  # attention grows with the position, and a machine has other work


@dataclass(slots=True)
class Pace:
    """Learns from every full step; a new conversation begins where the last one was.

    The best of the last three counts: a machine that was busy for a moment must not end in tiny steps, each of which
    costs more than its tokens.
    """

    step_s: float = STEP_S
    _tokens: int = 256
    _tokens_per_s: deque[float] = field(default_factory=lambda: deque(maxlen=3))

    def step_tokens(self) -> int:
        """The largest size that should end in time; at most one size above the last, so that no guess is far out."""
        if not self._tokens_per_s:
            return self._tokens
        room = max(self._tokens_per_s) * self.step_s * CAUTION
        next_up = SIZES[min(SIZES.index(self._tokens) + 1, len(SIZES) - 1)]
        return max((size for size in SIZES if size <= min(room, next_up)), default=SIZES[0])

    def took(self, tokens: int, seconds: float) -> None:
        """A step of a known size was measured; cut ones say little."""
        if tokens in SIZES and seconds > 0:
            self._tokens = tokens
            self._tokens_per_s.append(tokens / seconds)
