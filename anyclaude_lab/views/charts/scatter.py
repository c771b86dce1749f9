"""Two measures of each variant against each other, and which of them nobody beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from anyclaude_lab.views.charts.axes import Axis, grid, place, short, tick_labels
from anyclaude_lab.views.figures import whole
from anyclaude_lab.views.html import Html, joined, tag

HEIGHT = 240
GUTTER = 12  # percent at the left, for the numbers of the upright axis
NEAR, NEAR_PX = 4.0, 14.0  # percent and pixels: numbers of points that are nearer would lie on each other
BELOW = 22  # pixels under the picture, for those of the other


@dataclass(frozen=True, slots=True)
class Point:
    """A variant: `y` is better when higher, with its 95 % interval. None: unknown."""

    name: str
    x: float | None
    y: float | None
    y_low: float | None = None
    y_high: float | None = None
    n: int | None = None
    weak: bool = False


def front(points: Sequence[Point], *, less_is_better: bool = False) -> list[bool]:
    """For each point, whether none other is at least as good in x and y and better in one; False where unknown."""
    places = [None if p.x is None or p.y is None else (-p.x if less_is_better else p.x, p.y) for p in points]
    known = [place for place in places if place is not None]
    return [place is not None and not any(_beats(other, place) for other in known) for place in places]


def scatter(title: str, points: Sequence[Point], x: Axis, y: Axis, *, less_is_better: bool = False) -> Html:
    """Numbered points with the Pareto front as a line, and a table that says what each is."""
    on_front = front(points, less_is_better=less_is_better)
    marks = [*(_mark(p, best, x, y) for p, best in zip(points, on_front, strict=True)), _numbers(points, x, y)]
    best = [p for p, kept in zip(points, on_front, strict=True) if kept]
    inside = _right(_frame(x, y), _line(best, x, y, less_is_better), *marks, y=0, height=HEIGHT)
    below = _right(tick_labels(x, 14), y=HEIGHT, height=BELOW)
    said = f"{title}. {y.label} over {x.label}, {len(points)} variants; the table beside it has the figures."
    picture = tag("svg", _upright(y), inside, below, width="100%", height=HEIGHT + BELOW, role="img", aria_label=said)
    names = (tag("span", f"↑ {y.label}"), tag("span", f"{x.label} →"))
    caption = tag("figcaption", tag("b", title), tag("small", f"{y.label} over {x.label}"))
    return tag("figure", caption, tag("div", names[0], picture, names[1], class_="plane"),
               _legend(points, on_front, x, y), class_="chart scatter")  # fmt: skip


def _right(*children: Html | None, y: int, height: int) -> Html:
    """What stands right of the numbers of the upright axis."""
    return tag("svg", *children, x=f"{GUTTER}%", y=y, width=f"{100 - GUTTER}%", height=height)


def _beats(other: tuple[float, float], one: tuple[float, float]) -> bool:
    return other != one and other[0] >= one[0] and other[1] >= one[1]


def _down(scale: Axis, value: float) -> float:
    """Pixels from the top."""
    return HEIGHT * (1 - scale.at(value) / 100)


def _frame(x: Axis, y: Axis) -> Html:
    across = [
        tag("line", x1="0", x2="100%", y1=short(_down(y, value)), y2=short(_down(y, value)), class_="grid")
        for value in y.ticks()
    ]
    return joined(grid(x, HEIGHT), across)


def _upright(y: Axis) -> Html:
    texts = [
        tag("text", y.tick(value), x=f"{GUTTER - 1}%", y=short(_down(y, value) + 4), text_anchor="end")
        for value in y.ticks()
    ]
    return joined(texts)


def _line(best: Sequence[Point], x: Axis, y: Axis, less_is_better: bool) -> Html:
    """Steps through the points of the front: what is behind them is dominated."""
    stops = sorted({(p.x, p.y) for p in best if p.x is not None and p.y is not None})
    lines = []
    for (x1, y1), (x2, y2) in pairwise(stops):
        corner = (x2, y1) if less_is_better else (x1, y2)
        lines += [_segment((x1, y1), corner, x, y), _segment(corner, (x2, y2), x, y)]
    return joined(lines)


def _segment(start: tuple[float, float], end: tuple[float, float], x: Axis, y: Axis) -> Html:
    return tag(
        "line",
        x1=place(x.at(start[0])),
        x2=place(x.at(end[0])),
        y1=short(_down(y, start[1])),
        y2=short(_down(y, end[1])),
        class_="front",
    )


def _mark(point: Point, best: bool, x: Axis, y: Axis) -> Html | None:
    if point.x is None or point.y is None:
        return None
    at, down = place(x.at(point.x)), _down(y, point.y)
    interval = None
    if point.y_low is not None and point.y_high is not None:
        ends = {"y1": short(_down(y, point.y_low)), "y2": short(_down(y, point.y_high))}
        interval = tag("line", x1=at, x2=at, class_="interval", **ends)
    circle = tag("circle", tag("title", point.name), cx=at, cy=short(down), r=5, class_="point")
    return tag("g", interval, circle, class_=_kind(point, best))


def _numbers(points: Sequence[Point], x: Axis, y: Axis) -> Html:
    """The numbers beside the points; those of points that lie on each other are written together."""
    together: list[tuple[float, float, list[int]]] = []
    for number, point in enumerate(points, 1):
        if point.x is None or point.y is None:
            continue
        at, down = x.at(point.x), _down(y, point.y)
        near = (spot for spot in together if abs(spot[0] - at) < NEAR and abs(spot[1] - down) < NEAR_PX)
        spot = next(near, None)
        if spot is None:
            together.append((at, down, [number]))
        else:
            spot[2].append(number)
    texts = []
    for at, down, numbers in together:
        end, aside = ("end", -9) if at > 75 else ("start", 9)
        said = ", ".join(map(str, numbers))
        texts.append(tag("text", said, x=place(at), y=short(down + 18), dx=aside, text_anchor=end, class_="number"))
    return joined(texts)


def _legend(points: Sequence[Point], on_front: Sequence[bool], x: Axis, y: Axis) -> Html:
    heads = [tag("th", "", scope="col", aria_label="number")]
    heads += [tag("th", word, scope="col") for word in ("variant", x.label, y.label, "95 % interval", "n", "standing")]
    rows = [_legend_row(n, p, best, x, y) for n, (p, best) in enumerate(zip(points, on_front, strict=True), 1)]
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)), class_="wide", tabindex=0,
               role="region", aria_label="figures of the chart")  # fmt: skip


def _legend_row(number: int, point: Point, best: bool, x: Axis, y: Axis) -> Html:
    known = point.y_low is not None and point.y_high is not None
    interval = f"{y.write(point.y_low)} to {y.write(point.y_high)}" if known else "none"
    placed = point.x is not None and point.y is not None
    standing = ("on the front" if best else "dominated") if placed else "unknown, not drawn"
    cells = (point.name, x.write(point.x), y.write(point.y), interval, whole(point.n))
    return tag(
        "tr",
        tag("td", str(number), class_="number"),
        *(tag("td", cell) for cell in cells),
        tag("td", standing + (", insufficient" if point.weak else "")),
        class_=_kind(point, best),
    )


def _kind(point: Point, best: bool) -> str:
    return " ".join(["best" if best else "dominated", *(["weak"] if point.weak else [])])
