"""HTML from values: whatever is not HTML already cannot become it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.views.bars import columns, stacked
from anyclaude_lab.views.figures import UNKNOWN, clock, dollars, percent, plural, seconds, whole
from anyclaude_lab.views.html import joined, tag

TEXTS = st.text(st.sampled_from("<>&\"'/ab=-`\n é"), max_size=40)


class Seen(HTMLParser):
    """What a parser of HTML reads: tags with attributes, and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXTS, TEXTS)
def test_a_text_stays_a_text_wherever_it_stands(inside: str, attribute: str) -> None:
    seen = Seen(tag("p", tag("b", inside), title=attribute))
    assert seen.tags == [("p", {"title": attribute}), ("b", {})]
    assert seen.text == inside


def test_children_may_be_lists_numbers_and_nothing() -> None:
    assert joined("a", None, ["b", tag("i", 3)]) == "ab<i>3</i>"


def test_names_of_attributes_and_those_left_out() -> None:
    made = tag("b", class_="x", aria_label="y", disabled=True, hidden=False, title=None)
    assert made == '<b class="x" aria-label="y" disabled></b>'


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
def test_the_parts_of_a_bar_fill_it_and_no_more(sizes: list[float]) -> None:
    rects = [a for name, a in Seen(stacked([("decode", s) for s in sizes], "label")).tags if name == "rect"]
    widths = [float(a["width"] or 0) for a in rects]
    assert sum(widths) == pytest.approx(100 if sum(sizes) else 0, abs=0.1)


@given(st.lists(st.tuples(st.just("reused"), st.none() | st.floats(0, 1)), max_size=40))
def test_columns_stand_within_their_picture_and_the_latest_at_its_right(shares: list[tuple[str, float | None]]) -> None:
    rects = [a for name, a in Seen(columns(shares, "label", 24)).tags if name == "rect"]
    assert len(rects) == 2 * min(24, len(shares))
    assert all(0 <= float(a["x"] or 0) <= 24 * 5 - 4 and float(a["y"] or 0) >= 0 for a in rects)
    assert not shares or rects[-1]["x"] == "115"


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (whole(18204), "18,204"),
        (whole(0), "0"),
        (whole(None), UNKNOWN),
        (seconds(0.517), "0.52 s"),
        (seconds(9.999), "10.0 s"),
        (seconds(99.96), "1 min 40 s"),
        (seconds(125.4), "2 min 5 s"),
        (seconds(None), UNKNOWN),
        (percent(1, 1), "100 %"),
        (percent(999, 1000), "99 %"),  # not all of it
        (percent(1, 1000), "< 1 %"),
        (percent(-1, 1000), "> -1 %"),
        (percent(0, 1000), "0 %"),
        (percent(1, 0), UNKNOWN),
        (percent(None, 5), UNKNOWN),
        (dollars(1234.5), "$1,234.50"),
        (dollars(0.0), "$0.00"),
        (dollars(0.00314), "$0.0031"),
        (dollars(-0.05), "-$0.050"),
        (dollars(1e-9), "< $0.000001"),
        (dollars(None), UNKNOWN),
        (plural(1, "message"), "1 message"),
        (plural(1200, "message"), "1,200 messages"),
        (clock(None), UNKNOWN),
        (clock(1.5), '<time datetime="1970-01-01T00:00:01.500+00:00">00:00:01</time>'),
    ],
)
def test_numbers_as_they_are_read(made: str, shown: str) -> None:
    assert made == shown
