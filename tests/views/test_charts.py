"""Charts say what was measured: marks stand where their numbers are, and what nobody knows is said to be unknown."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.views.charts import (
    Bar,
    Dot,
    Group,
    Lane,
    Point,
    Reuse,
    Turn,
    axis,
    front,
    scatter,
    strips,
    timeline,
    waterfall,
)
from anyclaude_lab.views.html import Html
from anyclaude_lab.views.requests import Split
from tests.views.test_html import Seen

NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
KNOWN = Split(0.5, 1.5, 2.0)
HOSTILE = '"><script>x</script>'


def marks(made: Html, name: str, kind: str) -> list[dict[str, str]]:
    """The attributes of all elements `name` of that class."""
    found = [{k: v or "" for k, v in a.items()} for n, a in Seen(made).tags if n == name]
    return [attributes for attributes in found if kind in attributes.get("class", "").split()]


def share(text: str) -> float:
    return float(text.removesuffix("%"))


# --- axes ---


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_an_axis_holds_its_values_between_round_ticks(values: list[float]) -> None:
    scale = axis("tokens", "tokens", values)
    ticks = scale.ticks()
    assert ticks[0] <= min(0.0, *values) + 1e-6 * scale.step and ticks[-1] >= max(0.0, *values) - 1e-6 * scale.step
    assert 2 <= len(ticks) <= 7
    assert [scale.at(scale.low), scale.at(scale.high)] == pytest.approx([2, 98])


@given(st.lists(NUMBERS, min_size=3, max_size=3, unique=True))
def test_places_are_proportional_to_numbers(values: list[float]) -> None:
    scale = axis("seconds", "seconds", values)
    first, second, third = map(scale.at, values)
    expected = (values[1] - values[0]) / (scale.high - scale.low) * 96
    assert second - first == pytest.approx(expected, abs=1e-6)
    assert (second < third) == (values[1] < values[2])


def test_an_axis_of_nothing_is_an_axis() -> None:
    assert axis("share", "share", [None]).ticks() == [0.0, 0.5, 1.0]


# --- rows ---


def test_a_dot_stands_at_its_value_on_the_line_of_its_interval() -> None:
    scale = axis("fidelity", "score", [1.0])
    made = strips("ladder", [Group("L0", [Dot("a", 0.5, 0.25, 0.75, n=84)])], scale)
    (dot,), (line,) = marks(made, "circle", "mark"), marks(made, "line", "interval")
    assert (share(dot["cx"]), share(line["x1"]), share(line["x2"])) == (50, 26, 74)
    assert "0.500 [0.250, 0.750], n 84" in Seen(made).text


def test_a_zero_is_drawn_and_what_is_unknown_is_not() -> None:
    scale = axis("saved", "share", [1.0])
    made = strips("savings", [Group("", [Bar("none", 0.0, 3), Bar("unknown", None, 3), Dot("dot", None)])], scale)
    assert len(marks(made, "rect", "mark")) == 1 and not marks(made, "circle", "mark")
    assert len(marks(made, "line", "unknown")) == 2
    assert "0 %, n 3" in Seen(made).text and "– unknown, n 3" in Seen(made).text  # noqa: RUF001  the dash, as in print


def test_bars_begin_at_zero_and_go_left_where_something_grew() -> None:
    scale = axis("saved", "share", [-0.5, 1.0])
    made = strips("savings", [Group("turn 1", [Bar("a", 1.0), Bar("b", -0.5)])], scale)
    more, less = marks(made, "rect", "mark")
    assert share(more["x"]) == pytest.approx(34) and share(more["width"]) == pytest.approx(64)
    assert share(less["x"]) == pytest.approx(2) and share(less["width"]) == pytest.approx(32)


def test_weak_evidence_and_a_missing_interval_are_said() -> None:
    scale = axis("fidelity", "score", [1.0])
    made = strips("x", [Group("", [Dot("a", 0.5, n=2, weak=True)])], scale)
    assert "no interval, n 2, insufficient" in Seen(made).text
    assert marks(made, "div", "weak")
    assert "Nothing was measured" in strips("x", [], scale)


# --- scatter ---

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8)


@given(POINTS, st.booleans())
def test_the_front_is_what_nobody_beats(places: list[tuple[int, int]], less: bool) -> None:
    points = [Point(str(n), float(x), float(y)) for n, (x, y) in enumerate(places)]
    kept = front(points, less_is_better=less)
    sign = -1 if less else 1
    for (x, y), best in zip(places, kept, strict=True):
        beaten = any(sign * ox >= sign * x and oy >= y and (ox, oy) != (x, y) for ox, oy in places)
        assert best != beaten
    assert any(kept)


def test_points_are_placed_and_told_and_unknown_ones_only_told() -> None:
    points = [Point("a", 0.0, 1.0, 0.9, 1.0, 84), Point("b", 0.5, 0.5), Point("worse", 0.25, 0.25), Point("c", None, 1)]
    x, y = axis("saved", "share", [1.0]), axis("fidelity", "score", [1.0])
    made = scatter("both", points, x, y)
    places = [(share(a["cx"]), float(a["cy"])) for a in marks(made, "circle", "point")]
    assert places == [(2, 4.8), (50, 120), (26, 177.6)]  # of 240 pixels; the top is the best
    text = Seen(made).text
    assert "dominated" in text and "unknown, not drawn" in text
    assert len(marks(made, "tr", "dominated")) == 2


def test_points_on_each_other_share_their_numbers() -> None:
    points = [Point("a", 0.5, 0.5), Point("b", 0.51, 0.5), Point("c", 0.9, 0.5)]
    made = scatter("both", points, axis("saved", "share", [1.0]), axis("fidelity", "score", [1.0]))
    assert len(marks(made, "text", "number")) == 2
    assert "1, 2" in Seen(made).text


# --- waterfall ---


def test_what_is_lost_lies_between_what_was_and_what_is_left() -> None:
    made = waterfall("reuse", [Reuse("a", 3, 1000, 800, 600, 400)])
    left = [share(a["width"]) for a in marks(made, "rect", "mark")]
    lost = [(share(a["x"]), share(a["x"]) + share(a["width"])) for a in marks(made, "rect", "lost")]
    scale = axis("prompt tokens", "tokens", [1000])
    assert left == pytest.approx([scale.at(n) - scale.at(0) for n in (800, 600, 400)], abs=0.02)
    assert lost == [pytest.approx((scale.at(n), scale.at(n + 200)), abs=0.02) for n in (800, 600, 400)]
    assert "400, 40 %" in Seen(made).text


def test_a_server_that_reports_nothing_did_not_lose_everything() -> None:
    made = waterfall("reuse", [Reuse("a", 3, 1000, 800, 600, None), Reuse("b", 0, None, None, None, None)])
    assert len(marks(made, "rect", "lost")) == 2
    assert Seen(made).text.count("unknown") == 2


def test_more_reuse_than_foreseen_is_a_gain() -> None:
    made = waterfall("reuse", [Reuse("a", 3, 1000, 800, 600, 700)])
    assert len(marks(made, "rect", "gained")) == 1 and "+100" in Seen(made).text


# --- timeline ---


def turn(name: str, start_s: float | None, split: Split = KNOWN, **more: object) -> Turn:
    return Turn(name, name, start_s, split, **more)  # type: ignore[arg-type]  # a few of its fields


def test_a_turn_is_its_phases_in_order_and_its_cached_share() -> None:
    made = timeline("s", [Lane("main", [turn("a", 0.0, prompt_tokens=100, cached_tokens=75)])])
    phases = [marks(made, "rect", kind)[0] for kind in ("queue", "prefill", "decode")]
    assert [(share(a["x"]), share(a["width"])) for a in phases] == [(0, 12.5), (12.5, 37.5), (50, 50)]
    assert share(marks(made, "rect", "cached")[0]["width"]) == 75
    assert "75 % of 100 prompt tokens cached" in Seen(made).text


def test_lanes_share_one_clock_and_a_long_pause_is_drawn_short() -> None:
    lanes = [Lane("main", [turn("a", 0.0), turn("c", 100.0)]), Lane("sub", [turn("b", 2.0)])]
    made = timeline("s", lanes, idle_s=4.0)
    starts = {a["data-turn"]: a for a in marks(made, "g", "turn")}
    assert list(starts) == ["a", "c", "b"]
    queues = [share(a["x"]) for a in marks(made, "rect", "queue")[:3]]
    assert queues == [pytest.approx(x, abs=0.01) for x in (0, 100 * 10 / 14, 100 * 2 / 14)]
    assert "1 pause of 94.0 s together drawn short" in Seen(made).text
    assert "drawn short" not in timeline("s", lanes, idle_s=None)


def test_a_turn_of_unknown_times_or_cache_is_no_turn_of_none() -> None:
    lanes = [Lane("main", [turn("a", 0.0), turn("b", 5.0, Split(None, None, None)), turn("c", None)])]
    made = timeline("s", lanes)
    assert [a["data-turn"] for a in marks(made, "g", "turn")] == ["a", "b"]
    assert "1 without a time" in Seen(made).text and "times unknown; cache unknown" in made
    assert not [a for a in marks(made, "rect", "cached") if "x" in a]  # but that of the key
    assert marks(made, "rect", "unknown")
    assert "No turn has a time" in timeline("s", [Lane("main", [turn("c", None)])])


def test_the_chosen_and_the_failed_turn_are_marked() -> None:
    made = timeline("s", [Lane("m", [turn("a", 0.0, error="HTTP 529"), turn("b", 4.0)])], chosen="b")
    assert [a["data-turn"] for a in marks(made, "g", "failed")] == ["a"]
    assert [a["data-turn"] for a in marks(made, "g", "chosen")] == ["b"]
    assert "HTTP 529" in Seen(made).text


@given(st.lists(st.tuples(st.floats(0, 1e4), st.none() | st.floats(0, 100)), min_size=1, max_size=12))
def test_no_turn_is_drawn_outside_of_the_picture(times: list[tuple[float, float | None]]) -> None:
    turns = [turn(str(n), start, Split(None, first, 1.0)) for n, (start, first) in enumerate(times)]
    rects = marks(timeline("s", [Lane("m", turns)]), "rect", "frame")
    assert len(rects) == len(turns)
    assert all(share(a["x"]) >= 0 and share(a["x"]) + share(a["width"]) <= 100.02 for a in rects)


# --- what holds for all of them ---


def test_names_stay_texts_and_nothing_is_loaded_or_run() -> None:
    scale = axis(HOSTILE, "share", [1.0])
    made = [
        strips(HOSTILE, [Group(HOSTILE, [Dot(HOSTILE, 0.5), Bar(HOSTILE, 0.5)])], scale),
        scatter(HOSTILE, [Point(HOSTILE, 0.5, 0.5)], scale, scale),
        waterfall(HOSTILE, [Reuse(HOSTILE, 1, 4, 3, 2, 1)]),
        timeline(HOSTILE, [Lane(HOSTILE, [Turn(HOSTILE, HOSTILE, 0.0, KNOWN, error=HOSTILE)])]),
    ]
    for piece in made:
        tags = Seen(piece).tags
        assert not [name for name, _ in tags if name in ("script", "style", "image", "a", "iframe")]
        assert not [key for _, attributes in tags for key in attributes if key.startswith(("on", "style", "href"))]
        assert HOSTILE in Seen(piece).text


def colours(scheme: str) -> dict[str, str]:
    css = resources.files("anyclaude_lab.views").joinpath("style.css").read_text("utf-8")
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    return {name: light if scheme == "light" else dark for name, light, dark in pairs}


def contrast(first: str, second: str) -> float:
    """Of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""
    lights = []
    for colour in (first, second):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(lights) / min(lights)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_and_marks_can_be_told_from_what_is_behind_them(scheme: str) -> None:
    colour = colours(scheme)
    for behind in ("paper", "panel"):
        for letters in ("ink", "quiet", "good", "warn", "bad"):
            assert contrast(colour[letters], colour[behind]) >= 4.5, (letters, behind)
        for mark in ("queue", "prefill", "waited", "decode", "cached", "good", "system", "tools", "messages"):
            assert contrast(colour[mark], colour[behind]) >= 3, (mark, behind)
    assert contrast(colour["paper"], colour["decode"]) >= 4.5  # numbers in points
