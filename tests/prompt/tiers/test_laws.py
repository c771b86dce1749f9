"""What a tier owes to any prompt: generated ones, put together from known and unknown pieces in any order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyclaude_lab.prompt.tiers import BUDGETS_TOKENS, TIERS
from anyclaude_lab.prompt.tiers.core import CORE
from anyclaude_lab.prompt.tiers.filter import FilteredTexts, filter_texts
from anyclaude_lab.prompt.tiers.outline import outline
from anyclaude_lab.prompt.tiers.table import FAMILIES, GENERIC, NEVER, PROTECTED, SESSION_FROM_HERE, SESSION_HEADINGS
from anyclaude_lab.render.tokens import characters

STRONGER = list(pairwise(TIERS))
KEPT = "it stays"

words = st.lists(st.sampled_from(["sail", "the", "boat", "# mast", "`oar`", "wind:", "\ud800", "ß"]), max_size=6).map(
    " ".join
)
long_words = st.sampled_from([1, 1, 3000]).map("haul ".__mul__)
signs = st.sampled_from([sign for kind in GENERIC for sign in kind.signs])
headings = st.sampled_from(
    [heading for kind in (*GENERIC, *PROTECTED) for heading in kind.headings] + ["customs", "Rules"]
)
protected = st.sampled_from([sign for kind in PROTECTED for sign in kind.signs]).map(lambda sign: f"{sign} {KEPT}")
starts = st.sampled_from(["", "- ", " - ", "1. ", "  - ", "    - "])
sentence = st.one_of(words, signs, signs, st.tuples(signs, words).map(" ".join), protected, long_words)
line = st.tuples(starts, sentence, st.sampled_from(["", "", ":", "."])).map("".join)
heading = st.tuples(st.sampled_from(["# ", "# ", "## ", "### "]), headings).map("".join)
session = st.sampled_from(
    [f"# {title} x" for title in SESSION_HEADINGS] + [f"{words} x" for words in SESSION_FROM_HERE]
)
mark = st.sampled_from(["```", "<example>", "</example>", "<env>", "</env>", "", "", "", CORE])
opening = st.sampled_from([sign for _, signs in FAMILIES for sign in signs])
pieces = st.one_of(line, line, line, heading, mark, session)
gaps = st.sampled_from(["\n", "\n", "\n\n", "\n\n\n", "\r\n"])


@st.composite
def prompts(draw: st.DrawFn) -> tuple[str, ...]:
    blocks = []
    for _ in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(st.tuples(pieces, gaps), max_size=16))
        lead = [draw(opening), "\n\n"] if draw(st.booleans()) else []
        blocks.append("".join([*lead, *(part for pair in parts for part in pair)]))
    return tuple(blocks)


def at(tier: str, texts: tuple[str, ...]) -> FilteredTexts:
    return filter_texts(texts, tier, characters().count)


def left(done: FilteredTexts) -> tuple[str, ...]:
    return tuple(text for text in done.texts if text is not None)


def lines(texts: tuple[str, ...]) -> list[str]:
    return [text for block in texts for text in block.split("\n") if text.strip()]


def is_part(shorter: list[str], longer: list[str]) -> bool:
    """Whether the one can be made from the other by leaving lines out."""
    rest = iter(longer)
    return all(line in rest for line in shorter)


@given(prompts())
def test_off_changes_nothing(texts: tuple[str, ...]) -> None:
    assert at("off", texts).texts == texts


@pytest.mark.parametrize("tier", TIERS)
@given(texts=prompts())
@example(
    texts=(
        "a\n\nb\n\nc\n- /help: get help with using claude code\n",
        "a file search specialist for\n\nno secrets\n\nno secrets",
    )
)
def test_one_tier(tier: str, texts: tuple[str, ...]) -> None:
    done = at(tier, texts)
    assert at(tier, texts) == done
    again = at(tier, left(done))
    assert again.texts == left(done), "filtering twice is filtering once"
    assert any(text.strip() for text in left(done)) == any(text.strip() for text in texts), "nothing is emptied"
    for line in lines(texts):
        if KEPT in line:
            assert any(line in text for text in left(done)), "protected text stays"
    gone = sum(row.tokens for row in done.sections if not row.kept)
    stays = sum(row.tokens for row in done.sections if row.kept)
    if tier != "off":
        assert stays - (done.budget_unmet_tokens or 0) <= BUDGETS_TOKENS[tier]
        assert not (done.budget_unmet_tokens and removable(done)), "a budget gives way to protected text alone"
    if gone == 0:
        assert done.texts == texts


def removable(done: FilteredTexts) -> bool:
    return any(row.kept and ("goes at" in row.why or "only for a budget" in row.why) for row in done.sections)


@given(prompts())
def test_a_stronger_tier_keeps_a_part_of_what_a_weaker_one_keeps(texts: tuple[str, ...]) -> None:
    for weak, strong in STRONGER:
        more, less = left(at(weak, texts)), left(at(strong, texts))
        kept = [line for line in lines(less) if line not in CORE or line in lines(texts)]
        assert is_part(kept, lines(more))
        assert sum(map(len, less)) <= sum(map(len, more)) or CORE in "".join(less)


@given(prompts())
def test_it_says_what_it_does(texts: tuple[str, ...]) -> None:
    done = at("extreme", texts)
    core = sum(row.tokens for row in done.sections if row.why.startswith("core prompt: stands"))
    count = characters().count
    units = [unit for text in texts for unit in outline(text).units]
    told = sum(row.tokens for row in done.sections) - core
    assert told == sum(count(unit.text) + 1 for unit in units)


def test_the_core_prompt_is_short_and_says_nothing_of_what_is_looked_for() -> None:
    assert characters().count(CORE) <= 600
    folded = CORE.casefold()
    assert not [sign for kind in (*GENERIC, *PROTECTED) for sign in kind.signs if sign in folded]


def test_anchors_are_short() -> None:
    kinds = (*GENERIC, *PROTECTED)
    anchors = [anchor for kind in kinds for anchor in (*kind.headings, *kind.signs)]
    anchors += [sign for _, signs in FAMILIES for sign in signs] + [*SESSION_FROM_HERE, *SESSION_HEADINGS]
    assert [anchor for anchor in anchors if len(anchor.split()) > 8] == []
    assert [anchor for anchor in anchors if anchor != anchor.casefold()] == []
    assert all(kind.goes < NEVER for kind in GENERIC)
    assert all(kind.goes == NEVER for kind in PROTECTED)
