"""What was counted of the texts so far, so that a text which goes on is counted from where it went on.

A text is kept in the segments that it grew by, each from one place where a tokenizer divides texts to a later one. What
stands before a segment need not be looked at again where the segment is: that costs a comparison, not a count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONVERSATIONS = 8
MOST_SEGMENTS = 128  # of one conversation; then neighbours are joined


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a text, the special token behind it, and the tokens of the text up to that token."""

    text: str
    behind: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known of a text: its first `size` characters, which have so many tokens, and the segments they are in."""

    size: int = 0
    tokens: int = 0
    segments: Sequence[Segment] = ()


class Counted:
    """Texts that were counted, the newest first, as long as they are."""

    def __init__(self) -> None:
        self._texts: list[list[Segment]] = []

    def beginning(self, text: str) -> Beginning:
        """The longest beginning of `text` that was counted."""
        return max((_common(known, text) for known in self._texts), key=lambda found: found.size, default=Beginning())

    def note(self, text: str, known: Beginning, end: int, behind: str, tokens: int) -> None:
        """`text` has so many tokens up to `end`, where the special token `behind` stands."""
        last = known.segments[-1] if known.segments else None
        others = [other for other in self._texts if last is None or other[-1] is not last]
        self._texts = [[*_joined(known.segments), Segment(text[known.size : end], behind, tokens)], *others]
        del self._texts[CONVERSATIONS:]


def _common(known: Sequence[Segment], text: str) -> Beginning:
    at = size = same = 0
    for number, segment in enumerate(known, start=1):
        if not text.startswith(segment.text, at):
            break
        at += len(segment.text)
        if text.startswith(segment.behind, at):
            size, same = at, number
    return Beginning(size, known[same - 1].tokens, known[:same]) if same else Beginning()


def _joined(segments: Sequence[Segment]) -> Sequence[Segment]:
    """The same in fewer segments, where they are too many."""
    if len(segments) < MOST_SEGMENTS:
        return segments
    half = MOST_SEGMENTS // 2
    last = segments[half - 1]
    return [Segment("".join(s.text for s in segments[:half]), last.behind, last.tokens), *segments[half:]]
