"""The one parser behind every format: finds where calls may begin, lets the formats read, gives out the rest as text.

- Text comes out as it came in, at once; only what may still be an opening or a call is held back. White space between
  calls, and between a call and either end of the message, belongs to the calls.
- Inside a code fence, or right behind a backtick, nothing is an opening: there somebody explains how a call looks.
- What one format gave up is read by the next that has the same opening. What the most patient of them read becomes
  text as a whole and is not searched again: the work is linear, and a call quoted in the arguments of an unknown one
  does not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, NoReturn

from anyclaude_lab.models.parsers.format import Format, Place
from anyclaude_lab.models.parsers.tape import NotACall, Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools, Piece, TextPiece

_FENCE = "```"
_BACKTICKS = re.compile(r"`*")
_REST_OF_LINE = re.compile(r"[^\n`]*")
_LINE_START = re.compile(r"[ \t>*+\-0-9.)]*")  # what may stand before a fence: indentation, quotes, list markers
_FENCE_LINE = re.compile(rf"^{_LINE_START.pattern}(`{{3,}})(?!.*`)", re.MULTILINE)  # else it is code within a line
_FENCE_BEHIND_TEXT = re.compile(r"`{3,}[\w+#.-]+\s*")  # "Run this: ```bash": sloppy, but it opens a fence
_NOT_SPACE = re.compile(r"\S")


def _read_opening_fence(tape: Tape, offered: OfferedTools) -> Reading[NoReturn]:
    """A line of backticks that opens a code block, or code within a line: either way no call."""
    yield from tape.take_run(_BACKTICKS)
    yield from tape.take_run(_REST_OF_LINE)
    yield from tape.take_run(_BACKTICKS)
    raise NotACall


def _read_closing_fence(tape: Tape, offered: OfferedTools) -> Reading[NoReturn]:
    yield from tape.take_run(_BACKTICKS)
    raise NotACall


_OPENING_FENCE = Format((_FENCE,), _read_opening_fence, Place.FENCE)
_CLOSING_FENCE = Format((_FENCE,), _read_closing_fence, Place.FENCE)


class _Known(NamedTuple):
    """A set of formats, as it is searched for."""

    at_message: list[Format]
    at_opening: dict[str, list[Format]]
    openings: re.Pattern[str]
    starts: str  # the first character of any opening
    prefixes: frozenset[str]
    longest: int


@lru_cache(maxsize=32)
def _known(formats: tuple[Format, ...]) -> _Known:
    at_message: list[Format] = []
    at_opening: dict[str, list[Format]] = {_FENCE: []}
    for candidate in formats:
        if candidate.place is Place.MESSAGE:
            at_message.append(candidate)
            continue
        for opening in candidate.openings:
            at_opening.setdefault(opening, []).append(candidate)
    return _Known(
        at_message,
        at_opening,
        re.compile("|".join(map(re.escape, at_opening))),
        "".join(sorted({opening[0] for opening in at_opening})),
        frozenset(opening[:size] for opening in at_opening for size in range(1, len(opening))),
        max(map(len, at_opening)),
    )


class Scanner:
    """A `ToolTextParser` for a set of formats, tried in their order."""

    def __init__(self, formats: Iterable[Format], offered: OfferedTools) -> None:
        self._offered = offered
        known = _known(tuple(formats) if offered else ())
        self._at_message, self._at_opening = known.at_message, known.at_opening
        self._openings, self._starts = known.openings, known.starts
        self._prefixes, self._longest = known.prefixes, known.longest
        self._in_text = False  # everything that arrived is given out, and nothing is being read
        self._tape = Tape()
        self._pieces: list[Piece] = []
        self._space: list[str] = []  # white space that is text only if text follows
        self._at_edge = True  # nothing but space since the beginning of the message or the last call
        self._called = False  # a call has been found
        self._last = ""  # the last character given out as text
        self._line_blank = True  # this line may still begin with a fence
        self._fence = 0  # backticks of the open code fence; 0 outside
        self._scanning = self._scan()

    def feed(self, text: str) -> list[Piece]:
        """The pieces that `text` settles."""
        if self.passes(text):
            return [TextPiece(text)] if text else []
        self._tape.append(text)
        return self._settled()

    def passes(self, text: str) -> bool:
        """See `ToolTextParser`."""
        if not self._in_text or self._at_edge or any(map(text.__contains__, self._starts)):
            return False
        self._note_text(text)
        return True

    def alarms(self) -> str | None:
        """See `ToolTextParser`."""
        return self._starts if self._in_text and not self._at_edge else None

    def close(self) -> list[Piece]:
        """The rest. A call that claims the whole message, or the rest of it, comes out only here."""
        self._tape.ended = True
        return self._settled()

    def _settled(self) -> list[Piece]:
        next(self._scanning, None)
        pieces, self._pieces = self._pieces, []
        return list(_joined(pieces)) if len(pieces) > 1 else pieces

    def _scan(self) -> Reading[None]:
        tape = self._tape
        while not (first := tape.opening(_NOT_SPACE)) and not tape.ended:
            self._text(tape.take_text(_NOT_SPACE))
            yield
        if not (yield from self._marker_stands_here()):
            yield from self._try([format_ for format_ in self._at_message if first in format_.openings])
        while True:
            self._text(tape.take_text(self._openings, self._prefixes, self._longest))
            opening = tape.opening(self._openings)
            if opening:
                yield from self._open(opening)
            elif tape.ended:
                break
            else:
                self._in_text = tape.at_end
                yield
                self._in_text = False
        if not self._called:
            self._pieces += map(TextPiece, self._space)

    def _marker_stands_here(self) -> Reading[bool]:
        size = 1
        while (yield from self._tape.peek(size)) in self._prefixes and not self._tape.ended:
            size += 1
        return bool(self._tape.opening(self._openings))

    def _open(self, opening: str) -> Reading[None]:
        """Decides what an opening is at the place where it stands."""
        candidates = self._at_opening[opening]
        if opening == _FENCE and not self._fence:
            yield from self._try([*(candidates if self._line_blank else ()), _OPENING_FENCE])
        elif opening == _FENCE and self._line_blank:
            yield from self._try([_CLOSING_FENCE])
            self._last = ""  # these backticks quote nothing
        elif opening == _FENCE or self._fence or self._last == "`":
            self._text((yield from self._tape.take(len(opening))))
        else:
            yield from self._try(candidates)

    def _try(self, candidates: Sequence[Format]) -> Reading[None]:
        """Lets each format read from here; if none finds calls, what they read is text."""
        furthest = 0
        for candidate in candidates:
            self._tape.begin()
            try:
                calls = yield from candidate.read(self._tape, self._offered)
            except NotACall:
                furthest = max(furthest, self._tape.rewind())
            else:
                self._calls(calls)
                return
        text = yield from self._tape.take(furthest)
        self._follow_fences(text)
        self._text(text)

    def _follow_fences(self, text: str) -> None:
        for line in _FENCE_LINE.finditer(text):
            backticks = len(line[1])
            if line.start() == 0 and not self._line_blank and not _FENCE_BEHIND_TEXT.fullmatch(text):
                continue
            if not self._fence:
                self._fence = backticks
            elif backticks >= self._fence:
                self._fence = 0

    def _calls(self, calls: list[CallPiece]) -> None:
        self._pieces += calls
        self._space.clear()
        self._called = self._at_edge = self._line_blank = True
        self._last = ""

    def _text(self, text: str) -> None:
        if not text:
            return
        self._note_text(text)
        if self._at_edge and text.isspace():
            self._space.append(text)
            return
        if self._at_edge:
            self._pieces += map(TextPiece, self._space)
            self._space.clear()
            self._at_edge = False
        self._pieces.append(TextPiece(text))

    def _note_text(self, text: str) -> None:
        if self._line_blank or "\n" in text:
            _, newline, line = text.rpartition("\n")
            self._line_blank = (bool(newline) or self._line_blank) and bool(_LINE_START.fullmatch(line))
        self._last = text[-1:] or self._last


def _joined(pieces: list[Piece]) -> Iterable[Piece]:
    """Neighbouring texts as one."""
    for kind, group in groupby(pieces, key=type):
        if kind is TextPiece:
            yield TextPiece("".join(piece.text for piece in group if isinstance(piece, TextPiece)))
        else:
            yield from group
