"""What a notebook shows: pieces of HTML in a card that brings its own style. No script, no id, no other host.

A sanitised notebook drops the style and keeps the facts: everything that a picture says stands beside it as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources

from anyclaude_lab.views.bars import Part, stacked
from anyclaude_lab.views.figures import UNKNOWN, plural
from anyclaude_lab.views.html import Child, Html, joined, tag

ROWS_SHOWN = 200
TEXT_CHARS = 20_000  # of one text; a notebook keeps every output for good
STYLE = Html(
    "".join(resources.files(__package__).joinpath(f"{name}.css").read_text("utf-8") for name in ("style", "notebook"))
)
Heading = tuple[str, str | None]  # its words, the class of its column


def card(title: str, *parts: Child, aside: str | None = None) -> Html:
    """The parts below a title, in a box with the style of everything in it."""
    head = tag("p", title, tag("small", aside, class_="quiet") if aside else None, class_="title")
    return tag("div", tag("style", STYLE), head, *parts, class_="facts card")


def table(headings: Sequence[Heading], rows: Sequence[Sequence[Child]], label: str) -> Html:
    """A table of at most `ROWS_SHOWN` rows, which says how many more there are."""
    names = [tag("th", name, class_=kind, scope="col") for name, kind in headings]
    kinds = [kind for _, kind in headings]
    shown = [tag("tr", *map(_cell, row, kinds)) for row in rows[:ROWS_SHOWN]]
    more = len(rows) - len(shown)
    return joined(
        scrolled(tag("table", tag("thead", tag("tr", *names)), tag("tbody", *shown)), label),
        note(f"and {plural(more, 'more row')}") if more > 0 else None,
    )


def scrolled(wide: Html, label: str) -> Html:
    """What may be wider than its place; it scrolls by keys as well."""
    return tag("div", wide, class_="wide", tabindex=0, role="region", aria_label=label)


def pairs(facts: Iterable[tuple[str, Child]]) -> Html:
    """Names with their values, in columns as there is room."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts))


def note(words: str) -> Html:
    """A quiet sentence below something."""
    return tag("p", words, class_="note")


def part(words: str) -> Html:
    """A heading within a card."""
    return tag("p", words, class_="part")


def folded(summary: Child, *inside: Child, opened: bool = False) -> Html:
    """What opens with a click or a key."""
    return tag("details", tag("summary", summary), *inside, open=opened)


def text(value: str, label: str, chars: int = TEXT_CHARS) -> Html:
    """A text as it is, cut where it is longer than `chars`."""
    more = len(value) - chars
    return joined(
        tag("pre", value[:chars], tabindex=0, role="region", aria_label=label),
        note(f"and {plural(more, 'more character')}") if more > 0 else None,
    )


def legend(parts: Sequence[tuple[Part, str]]) -> Html:
    """What the colours of a bar mean, with the size of each."""
    lines = [tag("li", stacked([(name, 1)], words), words) for (name, _), words in parts]
    return tag("ul", *lines, class_="legend")


def yes(value: bool | None) -> str:
    """Yes or no; a dash for what nobody knows."""
    return UNKNOWN if value is None else "yes" if value else "no"


def _cell(value: Child, kind: str | None) -> Html:
    return tag("td", value, class_=kind)
