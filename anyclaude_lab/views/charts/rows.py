"""Charts that are tables: a name, its marks over a common axis, and the same in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude_lab.views.charts.axes import Axis, grid, place, tick_labels
from anyclaude_lab.views.figures import UNKNOWN, whole
from anyclaude_lab.views.html import Html, joined, tag

HEIGHT = 18  # of a row's picture


@dataclass(frozen=True, slots=True)
class Dot:
    """A measured value with its interval. None: unknown. `weak`: too little evidence to decide anything."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A value that is a length from zero."""

    name: str
    value: float | None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together, under a name; "" for none."""

    name: str
    rows: Sequence[Dot | Bar]


@dataclass(frozen=True, slots=True)
class Line:
    """One row as it is drawn: its marks are SVG over the axis, `said` is what they say."""

    name: str
    marks: Html
    said: str
    kind: str | None = None  # its class


def strips(title: str, groups: Sequence[Group], scale: Axis) -> Html:
    """Dots on a line that is their 95 % interval, hollow where the evidence is weak; bars from zero."""
    return table(title, scale, [(group.name, [_line(row, scale) for row in group.rows]) for group in groups])


def table(title: str, scale: Axis, groups: Sequence[tuple[str, Sequence[Line]]]) -> Html:
    """The chart. Where there is nothing to show, it says so."""
    if not any(lines for _, lines in groups):
        return tag("figure", _caption(title, scale), tag("p", "Nothing was measured.", class_="quiet"), class_="chart")
    rows = [_rows(name, lines, scale) for name, lines in groups]
    head = tag("svg", tick_labels(scale, 11), class_="ticks", width="100%", height=14, aria_hidden="true")
    ends = (tag("span", class_="name"), tag("span", head, class_="strip"), tag("span", class_="said"))
    body = tag("div", *rows, role="table", aria_label=f"{title}: {scale.label}", class_="rows")
    return tag("figure", _caption(title, scale), body, tag("div", *ends, class_="axis"), class_="chart")


def bar(scale: Axis, start: float, end: float, kind: str) -> Html:
    """A piece of bar between two values."""
    left, right = sorted((scale.at(start), scale.at(end)))
    return tag("rect", x=place(left), y=4, width=place(right - left), height=HEIGHT - 8, class_=kind)


def unknown(scale: Axis) -> Html:
    """The mark of what nobody knows: an empty dashed line."""
    ends = {"x1": place(scale.at(scale.low)), "x2": place(scale.at(scale.high))}
    return tag("line", y1=HEIGHT // 2, y2=HEIGHT // 2, class_="unknown", **ends)


def _caption(title: str, scale: Axis) -> Html:
    return tag("figcaption", tag("b", title), tag("small", scale.label))


def _rows(name: str, lines: Sequence[Line], scale: Axis) -> Html:
    head = tag("div", tag("span", name, role="columnheader"), role="row", class_="group") if name else None
    return joined(head, [_row(line, scale) for line in lines])


def _row(one: Line, scale: Axis) -> Html:
    picture = tag("svg", grid(scale, HEIGHT), one.marks, width="100%", height=HEIGHT, aria_hidden="true")
    return tag(
        "div",
        tag("span", one.name, role="rowheader", class_="name"),
        tag("span", picture, role="presentation", class_="strip"),
        tag("span", one.said, role="cell", class_="said"),
        role="row",
        class_=f"row {one.kind}" if one.kind else "row",
    )


def _line(row: Dot | Bar, scale: Axis) -> Line:
    if row.value is None:
        return Line(row.name, unknown(scale), f"{UNKNOWN} unknown{_n(row)}", "unknown")
    if isinstance(row, Bar):
        return Line(row.name, bar(scale, 0.0, row.value, "mark"), scale.write(row.value) + _n(row))
    weak = ", insufficient" if row.weak else ""
    return Line(row.name, _dot(row, row.value, scale), _interval(row, scale) + _n(row) + weak, weak and "weak")


def _dot(row: Dot, value: float, scale: Axis) -> Html:
    middle, line = HEIGHT // 2, None
    if row.low is not None and row.high is not None:
        ends = {"x1": place(scale.at(row.low)), "x2": place(scale.at(row.high))}
        line = tag("line", y1=middle, y2=middle, class_="interval", **ends)
    return joined(line, tag("circle", cx=place(scale.at(value)), cy=middle, r=4.5, class_="mark"))


def _interval(row: Dot, scale: Axis) -> str:
    if row.low is None or row.high is None:
        return f"{scale.write(row.value)}, no interval"
    return f"{scale.write(row.value)} [{scale.write(row.low)}, {scale.write(row.high)}]"


def _n(row: Dot | Bar) -> str:
    return "" if row.n is None else f", n {whole(row.n)}"
