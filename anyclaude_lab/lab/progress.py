"""How far a replay is, for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Progress = Callable[[int, int, float | None], None]  # done, of how many, seconds left
PRINT_S = 10.0  # between two lines, where nobody looks at a terminal


class Bar:
    """Progress with the seconds that are left."""

    def __init__(self, progress: bool | Progress, total: int) -> None:
        self._told = progress if callable(progress) else _Printed() if progress else None
        self._total, self._done, self._asked, self._began = total, 0, 0, time.monotonic()

    def step(self, turns: int, *, waited: bool = True) -> None:
        self._done += turns
        self._asked += turns if waited else 0
        if self._told is not None:
            spent_s = time.monotonic() - self._began
            left_s = spent_s / self._asked * (self._total - self._done) if self._asked else None
            self._told(self._done, self._total, left_s)


class _Printed:
    """On stderr: a line that changes in a terminal, elsewhere a new one every ten seconds."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, done: int, total: int, left_s: float | None) -> None:
        left = "" if left_s is None or done == total else f", {left_s:.0f} s left"
        text = f"replayed {done} of {total} turns{left}"
        if sys.stderr.isatty():
            print(f"\r{text:<50}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif time.monotonic() - self._last_s >= PRINT_S:
            self._last_s = time.monotonic()
            print(text, file=sys.stderr, flush=True)
