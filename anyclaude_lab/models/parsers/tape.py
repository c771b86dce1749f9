"""Text that arrives in pieces and is read once.

Readers are generators over a tape: they look ahead, take, and pause (`yield`) when the text they need has not arrived.
What they see does not depend on how the text was cut, and each character is handled a bounded number of times.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Reading = Generator[None, None, T]

# What may be held back before it counts as text after all.
HELD_LIMIT_CHARS = 1 << 20


class NotACall(Exception):
    """What was read so far cannot become a tool call: it is text."""


class Tape:
    """A window of arrived text, a read position, and the beginning of what is being tried (`begin`).

    Positions are counted from the start of the message. Text read since `begin` is kept, so that it can be read again
    (`rewind`) or handed out (`since`).
    """

    def __init__(self, held_limit_chars: int = HELD_LIMIT_CHARS) -> None:
        self._limit = held_limit_chars
        self._window = ""
        self._window_at = 0  # position of the window's first character
        self._at = 0  # next unread character, inside the window
        self._begun_at = 0
        self._earlier: list[str] = []  # text since `begin` that has left the window
        self._earlier_at: list[int] = []
        self.ended = False

    @property
    def position(self) -> int:
        return self._window_at + self._at

    @property
    def at_end(self) -> bool:
        """Whether all that arrived was read."""
        return self._at == len(self._window)

    def append(self, text: str) -> None:
        """More text has arrived. Costs its own length, whatever is held."""
        held_at = max(self._begun_at - self._window_at, 0)
        if held_at < self._at:
            self._earlier.append(self._window[held_at : self._at])
            self._earlier_at.append(self._window_at + held_at)
        self._window_at += self._at
        self._window = self._window[self._at :] + text
        self._at = 0

    def begin(self) -> None:
        """Start trying at the read position; what was read before is forgotten."""
        self._begun_at = self.position
        self._earlier.clear()
        self._earlier_at.clear()

    def rewind(self) -> int:
        """Back to where the try began. Returns how many characters it had read."""
        read = self.position - self._begun_at
        if self._earlier:
            self._window = "".join(self._earlier) + self._window
            self._window_at = self._begun_at
        self._at = self._begun_at - self._window_at
        self.begin()
        return read

    def since(self, position: int) -> str:
        """The text read from `position`, not before the beginning of the try, up to here."""
        if position >= self._window_at:
            return self._window[position - self._window_at : self._at]
        first = bisect_right(self._earlier_at, position) - 1
        earlier = "".join(self._earlier[first:])
        return earlier[position - self._earlier_at[first] :] + self._window[: self._at]

    def take_text(self, openings: re.Pattern[str], prefixes: frozenset[str] = frozenset(), longest: int = 1) -> str:
        """All arrived text that stands before the next opening, and that is not the first part of one."""
        window, at = self._window, self._at
        found = openings.search(window, at)
        if found:
            end = found.start()
        else:
            end = len(window)
            for start in range(max(at, end - longest + 1), end) if not self.ended else ():
                if window[start:] in prefixes:
                    end = start
                    break
        self._at = end
        self.begin()
        return window[at:end]

    def opening(self, openings: re.Pattern[str]) -> str:
        """The opening at the read position, or an empty string."""
        found = openings.match(self._window, self._at)
        return found[0] if found else ""

    def peek(self, count: int) -> Reading[str]:
        """The next `count` characters; fewer only at the end of the message."""
        while len(self._window) - self._at < count and not self.ended:
            yield
        return self._window[self._at : self._at + count]

    def take(self, count: int) -> Reading[str]:
        """Reads `count` characters; raises NotACall where the message ends before."""
        text = yield from self.peek(count)
        self._advance(count)
        if len(text) < count:
            raise NotACall
        return text

    def take_run(self, run: re.Pattern[str]) -> Reading[str]:
        """Reads as long as `run`, a repeated character class, matches: possibly nothing."""
        start = self.position
        while True:
            found = run.match(self._window, self._at)
            self._advance(found.end() - self._at if found else 0)
            if self._at < len(self._window) or self.ended:
                return self.since(start)
            yield

    def take_literal(self, literal: str) -> Reading[None]:
        """Reads exactly `literal`; raises NotACall where something else stands."""
        if not (yield from self.try_literal(literal)):
            raise NotACall

    def try_literal(self, literal: str) -> Reading[bool]:
        """Reads `literal` if it stands here, else nothing. Waits no longer than the text agrees with it."""
        while True:
            arrived = self._window[self._at : self._at + len(literal)]
            if not literal.startswith(arrived) or (self.ended and arrived != literal):
                return False
            if arrived == literal:
                self._advance(len(literal))
                return True
            yield

    def _advance(self, count: int) -> None:
        room = self._limit - (self.position - self._begun_at)
        self._at = min(self._at + min(count, room), len(self._window))
        if count > room:
            raise NotACall
