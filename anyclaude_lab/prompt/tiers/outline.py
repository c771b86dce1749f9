"""A prompt as the units a reader sees: headings, paragraphs, list items, fenced and tagged blocks.

Lossless: gaps and texts in order, and the tail, are the prompt. Time is linear in its length. A fence or a tag that is
never closed is ordinary text, so that half a block cannot swallow the rest. A text many times as long as any prompt of
the client (30,000 characters) is one unit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

LONGEST_CHARACTERS = 500_000

_FENCE = re.compile(r"[ \t]*(```|~~~)[^`]*\Z")
_TAG = re.compile(r"<([A-Za-z][\w-]{0,40})>[ \t\r]*\Z")
_CLOSING = re.compile(r"</([A-Za-z][\w-]{0,40})>[ \t\r]*\Z")
_HEADING = re.compile(r"(#{1,6})[ \t]+\S")
_ITEM = re.compile(r"([ \t]{0,12})(?:[-*+•]|\d{1,3}[.)])[ \t]+\S")


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of a prompt: the line ends and blank lines before it, and its own text."""

    gap: str
    text: str
    level: int = 0  # of a heading, 1 to 6
    item: bool = False
    tag: str | None = None  # of a block between <tag> and </tag>

    @property
    def title(self) -> str:
        """What a heading says."""
        return self.text.lstrip("#").strip()


@dataclass(frozen=True, slots=True)
class Outline:
    """The units of one text, and the white space after the last."""

    units: tuple[Unit, ...]
    tail: str


def outline(text: str) -> Outline:
    """The units of `text`; none where it is blank."""
    if len(text) > LONGEST_CHARACTERS:
        return Outline((Unit("", text),), "")
    lines = text.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    units: list[Unit] = []
    end = 0
    for first, after, kind in _pieces(lines):
        start, stop = starts[first], starts[after] - 1
        units.append(Unit(text[end:start], text[start:stop], **kind))
        end = stop
    return Outline(tuple(units), text[end:])


def _pieces(lines: Sequence[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The first line of each unit, the line after its last, and what kind of unit it is."""
    blocks = _Blocks(lines)
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
            continue
        after, tag = blocks.opened_by(at)
        if after:
            yield at, after, {"tag": tag}
        elif heading := _HEADING.match(line):
            after = at + 1
            yield at, after, {"level": len(heading[1])}
        else:
            item = _ITEM.match(line)
            after = _end_of_text(lines, at, len(item[1]) if item else None, blocks)
            yield at, after, {"item": item is not None}
        at = after


def _end_of_text(lines: Sequence[str], at: int, indent: int | None, blocks: _Blocks) -> int:
    """The line after a paragraph, or after an item with what is indented below it."""
    for number in range(at + 1, len(lines)):
        line = lines[number]
        if not line.strip() or _HEADING.match(line) or blocks.opened_by(number)[0]:
            return number
        item = _ITEM.match(line)
        if item and (indent is None or len(item[1]) <= indent + 1):
            return number
    return len(lines)


class _Blocks:
    """Where fences and tags close: the line numbers of each, found once."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._ends: dict[str, list[int]] = {}
        for number, line in enumerate(lines):
            if closing := _FENCE.match(line) or _CLOSING.match(line):
                self._ends.setdefault(closing[1], []).append(number)

    def opened_by(self, at: int) -> tuple[int, str | None]:
        """The line after the block that line `at` opens, and its tag; 0 where it opens none that is closed."""
        if fence := _FENCE.match(self._lines[at]):
            return self._after(fence[1], at), None
        if tag := _TAG.match(self._lines[at]):
            return self._after(tag[1], at), tag[1]
        return 0, None

    def _after(self, kind: str, at: int) -> int:
        """The line after the next end of that kind; 0 where none follows."""
        ends = self._ends.get(kind, [])
        place = bisect_right(ends, at)
        return ends[place] + 1 if place < len(ends) else 0
