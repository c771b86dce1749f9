"""The `system` field of a request at a tier.

All that may go stands in one order: by the tier from which its kind goes, then as written. A tier takes the kinds that
go at it or before, and further along the same order until the field is within the tier's budget. So each tier keeps a
part of what the weaker one keeps, and what nothing allows to go stays over any budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anyclaude_lab.prompt.tiers.core import CORE, CORE_UNITS
from anyclaude_lab.prompt.tiers.judge import HEADING, Judgement, judge
from anyclaude_lab.prompt.tiers.outline import Outline, Unit, outline
from anyclaude_lab.prompt.tiers.table import AGGRESSIVE, BUDGETS_TOKENS, EXTREME, NEVER, ONLY_FOR_BUDGET, TIERS, Kind
from anyclaude_lab.wire.json_text import without_surrogates

Count = Callable[[str], int]

_UNTITLED = "(opening)"
_TITLE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class SectionFate:
    """What became of one kind of text in one section, and why. Tokens as they were before."""

    title: str
    kept: bool
    why: str
    tokens: int


@dataclass(frozen=True, slots=True)
class FilteredTexts:
    """The texts of a prompt's blocks at a tier, None where nothing of a block is left; and how that came about.

    `budget_unmet_tokens` is what stays beyond the tier's budget because nothing allows it to go; None where the budget
    is met, or there is none.
    """

    texts: tuple[str | None, ...]
    family: str
    sections: tuple[SectionFate, ...]
    budget_unmet_tokens: int | None


def filter_texts(texts: tuple[str, ...], tier: str, count: Count) -> FilteredTexts:
    """The text blocks of one system prompt at a tier. `count` gives the tokens of one unit, without its line ends."""
    outlines = [outline(text) for text in texts]
    judgement = judge([each.units for each in outlines])
    tokens = [_tokens(place.unit, count) for place in judgement.places]
    cut = _cut(judgement, tokens, TIERS.index(tier), count)
    placed: list[list[tuple[int, Unit]]] = [[] for _ in outlines]
    for at, place in enumerate(judgement.places):
        placed[place.block].append((at, place.unit))
    left = tuple(
        _render(units, source, cut) if units else source.tail for units, source in zip(placed, outlines, strict=True)
    )
    return FilteredTexts(left, judgement.family, _fates(judgement, tokens, cut), cut.unmet_tokens)


@dataclass(frozen=True, slots=True)
class _Cut:
    """What goes at a tier: indices of units, where the core prompt stands instead, and what is over the budget."""

    level: int
    gone: frozenset[int]
    core_at: int | None
    core_tokens: int
    unmet_tokens: int | None


def _cut(judgement: Judgement, tokens: Sequence[int], level: int, count: Count) -> _Cut:
    gone, core_tokens = _gone(judgement, tokens, level), 0
    if level == EXTREME and judgement.main and gone and not judgement.has_core:
        core = sum(_tokens(unit, count) for unit in CORE_UNITS)
        with_core = _gone(judgement, tokens, level, core)
        # Only where it is shorter than what it stands for: a stronger tier never says more than a weaker one.
        if _kept(tokens, with_core) + core < _kept(tokens, _gone(judgement, tokens, AGGRESSIVE)):
            gone, core_tokens = with_core, core
    over = _kept(tokens, gone) + core_tokens - _budget(level, tokens)
    return _Cut(level, gone, min(gone) if core_tokens else None, core_tokens, over if over > 0 else None)


def _gone(judgement: Judgement, tokens: Sequence[int], level: int, added_tokens: int = 0) -> frozenset[int]:
    kinds = judgement.kinds
    order = sorted((at for at, kind in enumerate(kinds) if kind.goes < NEVER), key=lambda at: (kinds[at].goes, at))
    spare = _budget(level, tokens) - sum(tokens) - added_tokens
    gone: set[int] = set()
    for at in order:
        if kinds[at].goes > level and spare >= 0:
            break
        gone.add(at)
        spare += tokens[at]
    return frozenset(gone | _emptied(judgement, gone))


def _emptied(judgement: Judgement, gone: set[int]) -> set[int]:
    """The headings below which something went and nothing is left.

    What is protected, or the user's, stands below a heading of the client's generic text by accident: such a heading
    goes with the last of that text.
    """
    lost: set[int] = set()
    left: set[int] = set()
    for at, (place, kind) in enumerate(zip(judgement.places, judgement.kinds, strict=True)):
        if at in gone:
            lost.update(place.headings)
        elif kind is not HEADING:
            left.update(h for h in place.headings if kind.goes < NEVER or h not in judgement.generic)
    return lost - left


def _kept(tokens: Sequence[int], gone: frozenset[int]) -> int:
    return sum(tokens) - sum(tokens[at] for at in gone)


def _budget(level: int, tokens: Sequence[int]) -> int:
    """What the field may have; at `off` all that it has."""
    return BUDGETS_TOKENS.get(TIERS[level], sum(tokens))


def _tokens(unit: Unit, count: Count) -> int:
    """Of a unit and its line ends."""
    return count(without_surrogates(unit.text)) + 1


def _render(placed: Sequence[tuple[int, Unit]], source: Outline, cut: _Cut) -> str | None:
    """The text of one block without what went; None where nothing is left."""
    parts: list[str] = []
    skipped = False
    listing = False  # whether an item may follow without a blank line
    for at, unit in placed:
        if at in cut.gone and at != cut.core_at:
            skipped = True
            continue
        gap = "\n\n" if skipped and not (unit.item and listing) else unit.gap
        parts.append(gap if parts else source.units[0].gap)
        parts.append(CORE if at == cut.core_at else unit.text)
        skipped = at == cut.core_at
        listing = not skipped and (unit.item or unit.text.rstrip().endswith(":"))
    return "".join([*parts, source.tail]) if parts else None


def _fates(judgement: Judgement, tokens: Sequence[int], cut: _Cut) -> tuple[SectionFate, ...]:
    """One row for each section, fate and reason, in the order of the prompt; a heading counts with what it heads."""
    rows: dict[tuple[int | None, bool, str], int] = {}
    if cut.core_at is not None:
        rows[None, True, "core prompt: stands for what is generic"] = cut.core_tokens
    whys = [_why(kind, at in cut.gone, cut.level) for at, kind in enumerate(judgement.kinds)]
    below: dict[tuple[int, bool], str] = {}  # the first reason below a heading, for each fate
    for at, place in enumerate(judgement.places):
        if place.headings and judgement.kinds[at] is not HEADING:
            below.setdefault((place.headings[-1], at not in cut.gone), whys[at])
    for at, place in enumerate(judgement.places):
        kept = at not in cut.gone
        heading = at if judgement.kinds[at] is HEADING else next(iter(place.headings[::-1]), None)
        why = below.get((at, kept), whys[at])
        rows[heading, kept, why] = rows.get((heading, kept, why), 0) + tokens[at]
    return tuple(
        SectionFate(_UNTITLED if at is None else judgement.places[at].unit.title[:_TITLE_CHARACTERS], kept, why, count)
        for (at, kept, why), count in rows.items()
    )


def _why(kind: Kind, gone: bool, level: int) -> str:
    if gone and kind.goes > level:
        return f"{kind.name}: over the budget of {BUDGETS_TOKENS[TIERS[level]]:,} tokens"
    if kind.goes >= ONLY_FOR_BUDGET:
        return f"{kind.name}: stays" if kind.goes == NEVER else f"{kind.name}: goes only for a budget"
    return f"{kind.name}: goes at {TIERS[kind.goes]}"
