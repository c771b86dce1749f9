"""What was counted of the texts so far, so that a text which goes on is counted from where it went on.

Texts come in pieces. Pieces that are the very strings of the last time are known without being looked at: that is what
keeps counting a long conversation as cheap as counting what is new of it. Equal strings are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONVERSATIONS = 8
MOST_MARKS = 128  # of one conversation


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """The first `pieces` of a text end in `rest`, which begins with a special token and has `tokens` before it."""

    pieces: int = 0
    tokens: int = 0
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A text that was counted, and what is known of its beginnings, the shortest first."""

    pieces: Sequence[str]
    marks: Sequence[Mark]


class Counted:
    """Texts that were counted, the newest first, as long as they are."""

    def __init__(self) -> None:
        self._texts: list[Conversation] = []

    def beginning(self, pieces: list[str]) -> Mark:
        """The longest beginning of a text that was counted."""
        return max((_shared(known, pieces) for known in self._texts), key=lambda mark: mark.pieces, default=Mark())

    def note(self, pieces: list[str], known: Mark, mark: Mark) -> None:
        """Of the text `pieces`, which began with `known`, this is known as well."""
        others = [other for other in self._texts if other.marks[-1] is not known]
        grown = next((other for other in self._texts if known in other.marks), None)
        before = [m for m in grown.marks if m.pieces <= known.pieces] if grown else []
        self._texts = [Conversation(pieces, [*before, mark][-MOST_MARKS:]), *others]
        del self._texts[CONVERSATIONS:]

    def divided(self, text: str) -> list[str]:
        """`text` in the pieces of the text that it goes on from, and what is new of it."""
        return min(
            (_along(known.pieces, text) for known in self._texts), key=lambda found: len(found[-1]), default=[text]
        )


def _shared(known: Conversation, pieces: list[str]) -> Mark:
    """What is known of the longest beginning that both have."""
    marks = [Mark(), *known.marks]
    low, middle, high = 0, len(marks) - 1, len(marks) - 1  # mostly they share all of it
    while low < high:
        size = marks[middle].pieces
        if known.pieces[:size] == pieces[:size]:
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return marks[low]


def _along(known: Sequence[str], text: str) -> list[str]:
    at, same = 0, 0
    for piece in known:
        if not text.startswith(piece, at):
            break
        at, same = at + len(piece), same + 1
    return [*known[:same], text[at:]]
