"""Ends a text at the first of some stop strings, however it is cut into pieces. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class StopText:
    """Holds back only what may still become a stop string. `found` is the one that ended the text."""

    stops: Sequence[str]
    found: str | None = None
    _held: str = field(default="")

    def feed(self, text: str) -> str:
        """What is settled by `text`; nothing any more after a stop string."""
        if self.found is not None:
            return ""
        if not self.stops:
            return text
        text, self._held = self._held + text, ""
        places = [(at, stop) for stop in self.stops if (at := text.find(stop)) >= 0]
        if places:
            at, self.found = min(places)
            return text[:at]
        keep = max((_overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[len(text) - keep :] if keep else ""
        return text[: len(text) - keep]

    def close(self) -> str:
        """The rest, which was no stop string after all."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper beginning of `stop` that ends `text`."""
    longest = min(len(stop) - 1, len(text))
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
