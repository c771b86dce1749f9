"""Where the reuse of prompts is lost: from all of their tokens to what the server says it did not compute again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anyclaude_lab.views.charts.axes import Axis, axis
from anyclaude_lab.views.charts.rows import Line, bar, table, unknown
from anyclaude_lab.views.figures import UNKNOWN, percent, plural, whole
from anyclaude_lab.views.html import Html


@dataclass(frozen=True, slots=True)
class Reuse:
    """Sums over the same `n_turns` turns of a variant, in tokens; None where that is not known of them."""

    name: str
    n_turns: int
    prompt_tokens: int | None
    ideal_tokens: int | None
    expected_tokens: int | None
    reported_tokens: int | None


STEPS = (
    ("perfect cache", "in no prompt before it"),
    ("this cache's rules", "dropped by the cache's rules"),
    ("reported", "not reused by the server"),
)


def waterfall(title: str, variants: Sequence[Reuse]) -> Html:
    """All prompt tokens, what is lost on the way, and what is left after each loss; a group for each variant."""
    scale = axis("prompt tokens", "tokens", [one.prompt_tokens for one in variants])
    return table(
        title, scale, [(f"{one.name}, {plural(one.n_turns, 'turn')}", list(_lines(one, scale))) for one in variants]
    )


def _lines(one: Reuse, scale: Axis) -> Iterator[Line]:
    if one.prompt_tokens is None:
        yield Line("all prompts", unknown(scale), f"{UNKNOWN} unknown", "unknown")
        return
    yield Line("all prompts", bar(scale, 0, one.prompt_tokens, "whole"), f"{whole(one.prompt_tokens)} tokens")
    before: int | None = one.prompt_tokens
    left = (one.ideal_tokens, one.expected_tokens, one.reported_tokens)
    for (name, why), after in zip(STEPS, left, strict=True):
        if after is None:
            yield Line(f"reuse, {name}", unknown(scale), f"{UNKNOWN} unknown", "unknown")
        else:
            if before is not None:
                yield _change(why, before, after, scale)
            share = percent(after, one.prompt_tokens)
            yield Line(f"reuse, {name}", bar(scale, 0, after, "mark"), f"{whole(after)}, {share}")
        before = after


def _change(why: str, before: int, after: int, scale: Axis) -> Line:
    if after > before:
        return Line("more than foreseen", bar(scale, before, after, "gained"), f"+{whole(after - before)}", "lost")
    return Line(why, bar(scale, after, before, "lost"), f"−{whole(before - after)}" if before > after else "0", "lost")  # noqa: RUF001  the sign, as in print
