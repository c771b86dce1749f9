"""Two texts line by line: what is gone, what is new, and a little of what stayed around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from anyclaude_lab.views.figures import plural
from anyclaude_lab.views.html import Html, joined, tag
from anyclaude_lab.views.notebook import note

AROUND = 2  # lines that stayed, shown before and after a change
LINE_CHARS = 300
LINES_SHOWN = 400
LINES_COMPARED = 4000  # more of them that differ are told as one change: finding what moved takes too long
Kind = Literal["same", "gone", "new", "skipped"]
_TAGS: dict[Kind, str] = {"same": "span", "gone": "del", "new": "ins", "skipped": "small"}
_SIGNS: dict[Kind, str] = {"same": "  ", "gone": "− ", "new": "+ ", "skipped": "  "}  # noqa: RUF001  the sign, as in print


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference; `skipped` says how many lines stayed."""

    kind: Kind
    text: str


def lines_apart(old: str, new: str) -> list[Line]:
    """The difference of two texts; no line where they are equal."""
    before, after = old.splitlines(), new.splitlines()
    changes = [change for change in _changes(before, after) if change[0] != "equal"]
    lines: list[Line] = []
    at = 0
    for _, i1, i2, j1, j2 in changes:
        lines += _stayed(before[at:i1], first=at == 0, last=False)
        lines += _changed(before[i1:i2], after[j1:j2])
        at = i2
    return lines + _stayed(before[at:], first=False, last=True) if changes else []


def difference(old: str, new: str, label: str) -> Html:
    """The difference as a text, with signs as well as colours."""
    lines = lines_apart(old, new)
    if not lines:
        return note("nothing differs")
    shown = [tag(_TAGS[line.kind], _written(line)) for line in lines[:LINES_SHOWN]]
    more = len(lines) - len(shown)
    gone, new_lines = (sum(line.kind == kind for line in lines) for kind in ("gone", "new"))
    return joined(
        note(f"{plural(gone, 'line')} gone, {plural(new_lines, 'line')} new"),
        tag("pre", *shown, class_="diff", tabindex=0, role="region", aria_label=label),
        note(f"and {plural(more, 'more line')}") if more > 0 else None,
    )


def _changed(old: Sequence[str], new: Sequence[str]) -> list[Line]:
    """As many lines as before: each is followed by what it became."""
    if len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [line for was, now in pairs for line in (Line("gone", was), Line("new", now))]
    return [*(Line("gone", line) for line in old), *(Line("new", line) for line in new)]


def _written(line: Line) -> str:
    return f"{_SIGNS[line.kind]}{line.text[:LINE_CHARS]}{'…' if len(line.text) > LINE_CHARS else ''}\n"


def _changes(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """Edits of lines as `SequenceMatcher` tells them; what both texts begin and end with is not searched."""
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if max(len(old), len(new)) > LINES_COMPARED:
        yield "replace", start, start + len(old), start, start + len(new)
        return
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        yield kind, start + i1, start + i2, start + j1, start + j2


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))


def _stayed(lines: Sequence[str], *, first: bool, last: bool) -> list[Line]:
    """The ends of a stretch that stayed, and how much of it is left out between them."""
    head, tail = (0 if first else AROUND), (0 if last else AROUND)
    left_out = len(lines) - head - tail
    if left_out <= 0:
        return [Line("same", line) for line in lines]
    skipped = Line("skipped", f"{plural(left_out, 'line')} as before")
    kept = [Line("same", line) for line in lines]
    return [*kept[:head], skipped, *kept[len(lines) - tail :]]
