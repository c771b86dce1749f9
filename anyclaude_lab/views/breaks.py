"""Breaks of prefixes: where, by what, what each cost and what would mend it."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude_lab.views.bars import stacked
from anyclaude_lab.views.figures import UNKNOWN, plural, whole
from anyclaude_lab.views.html import Child, Html, joined, tag
from anyclaude_lab.views.notebook import Heading, card, note, table
from anyclaude_lab.wire.events import JsonObject

HEADINGS: tuple[Heading, ...] = (
    ("Session", None), ("Turn", "n"), ("Cause, place", None), ("Tokens lost", "n"), ("", "bar"), ("Mended", "n"),
    ("By", "why"), ("Before, after", "was"),
)  # fmt: skip


def breaks_view(title: str, breaks: Sequence[JsonObject], aside: str | None = None) -> Html:
    """A row for each break, of the facts of the table of breaks."""
    if not breaks:
        return card(title, note("every prompt continues the one before it in its lane"), aside=aside)
    most = max((row.get("tokens_lost") or 0) for row in breaks)
    return card(title, table(HEADINGS, [_row(row, most) for row in breaks], "Breaks"), aside=aside)


def _row(row: JsonObject, most: int) -> Sequence[Child]:
    lost = row.get("tokens_lost")
    blamed = row.get("transform_blamed")
    by_us = tag("small", f" by our own step {blamed}") if blamed else None
    session = str(row.get("session"))
    return (
        joined(tag("span", session[:8], title=session), tag("br"), tag("small", row.get("variant"))),
        whole(row.get("turn")),
        joined(tag("b", str(row.get("cause"))), by_us, tag("br"), tag("code", str(row.get("pointer")))),
        whole(lost),
        stacked([("broke", lost or 0)], f"{plural(lost or 0, 'token')} lost", of=most) if most else None,
        whole(row.get("fixed_tokens")),
        str(row.get("fixed_by") or UNKNOWN),
        joined(tag("code", str(row.get("before"))), tag("br"), tag("code", str(row.get("after")))),
    )
