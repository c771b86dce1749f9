"""A prompt is taken apart without loss, and not in the middle of what belongs together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.prompt.tiers.outline import outline
from tests.prompt.tiers.prompts import PROMPTS

MARKS = ["```", "```py", "~~~", "<env>", "</env>", "<example>", "</example>", "<a></a>", "lead:", "- item", "  - inner"]
LINES = st.sampled_from(
    [
        *MARKS,
        "",
        " ",
        "\t",
        "text",
        "# Heading",
        "###### deep",
        "####### seven",
        "# not\r",
        "#",
        "-",
        "1. first",
        "\ud800",
    ]
)
texts = st.lists(LINES, max_size=30).map("\n".join) | st.text(max_size=60)


def kinds(text: str) -> list[tuple[str, str]]:
    return [
        ("heading" if unit.level else "item" if unit.item else unit.tag or "text", unit.text)
        for unit in outline(text).units
    ]


@given(texts)
def test_nothing_is_lost(text: str) -> None:
    taken = outline(text)
    assert "".join(unit.gap + unit.text for unit in taken.units) + taken.tail == text
    assert all(unit.text.strip() and not unit.gap.strip() for unit in taken.units)
    assert not taken.tail.strip()


@pytest.mark.parametrize("name", PROMPTS)
def test_nothing_of_a_bundled_prompt_is_lost(name: str) -> None:
    for text in PROMPTS[name]:
        taken = outline(text)
        assert "".join(unit.gap + unit.text for unit in taken.units) + taken.tail == text


def test_a_heading_in_a_fence_is_none() -> None:
    assert kinds("# One\n```\n# Two\n```\n# Three") == [
        ("heading", "# One"),
        ("text", "```\n# Two\n```"),
        ("heading", "# Three"),
    ]


def test_a_fence_that_stays_open_swallows_nothing() -> None:
    assert kinds("```\n# One\ntext") == [("text", "```"), ("heading", "# One"), ("text", "text")]


def test_a_tagged_block_is_one_unit() -> None:
    text = "Here:\n<env>\nPlatform: linux\n\n- a\n</env>\nAfter."
    assert kinds(text) == [("text", "Here:"), ("env", "<env>\nPlatform: linux\n\n- a\n</env>"), ("text", "After.")]
    assert kinds("<env>\nno end") == [("text", "<env>\nno end")]


def test_items_with_what_is_indented_below_them() -> None:
    text = "Do:\n- one\n  goes on\n    - deeper\n - two\n1. three"
    assert kinds(text) == [
        ("text", "Do:"),
        ("item", "- one\n  goes on\n    - deeper"),
        ("item", " - two"),
        ("item", "1. three"),
    ]


def test_titles() -> None:
    assert [unit.title for unit in outline("# One\r\n## Two ").units] == ["One", "Two"]
