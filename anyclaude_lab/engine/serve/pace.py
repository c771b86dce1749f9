"""How many tokens one prefill step takes, so that a step lasts no longer than others should wait. PURE."""

from __future__ import annotations

from dataclasses import dataclass

STEP_S = 0.25
SIZES = (32, 64, 128, 256, 512, 1024, 2048)
CAUTION = 0.8  # attention grows with the position, and a machine has other work


@dataclass(slots=True)
class Pace:
    """Learns from every full step; a new conversation begins where the last one was."""

    step_s: float = STEP_S
    _tokens: int = 256
    _tokens_per_s: float | None = None

    def step_tokens(self) -> int:
        """The largest size that should end in time; at most one size above the last, so that no guess is far out."""
        if self._tokens_per_s is None:
            return self._tokens
        room = self._tokens_per_s * self.step_s * CAUTION
        next_up = SIZES[min(SIZES.index(self._tokens) + 1, len(SIZES) - 1)]
        return max((size for size in SIZES if size <= min(room, next_up)), default=SIZES[0])

    def took(self, tokens: int, seconds: float) -> None:
        """A step of a known size was measured; cut ones say little."""
        if tokens in SIZES and seconds > 0:
            self._tokens, self._tokens_per_s = tokens, tokens / seconds
