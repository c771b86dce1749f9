"""Recorded sessions, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude_lab.views.bars import stacked
from anyclaude_lab.views.figures import UNKNOWN, percent, plural, whole
from anyclaude_lab.views.html import Child, Html, joined, tag
from anyclaude_lab.views.notebook import Heading, card, folded, table
from anyclaude_lab.wire.events import JsonObject

HEADINGS: tuple[Heading, ...] = (
    ("Session", None), ("Turns", "n"), ("Lanes", "n"), ("Tool calls", "n"), ("Errors", "n"), ("Prompt tokens", "n"),
    ("From cache", "n"), ("", "bar"), ("Output tokens", "n"), ("Model", None),
)  # fmt: skip
COMPLAINTS_SHOWN = 50


def sessions_view(title: str, sessions: Sequence[JsonObject], complaints: Sequence[str]) -> Html:
    """A row for each session, of the facts of the table `Traces.sessions`, and what was left out."""
    rows = [_row(session) for session in sessions]
    told = complaints[:COMPLAINTS_SHOWN]
    lines = [tag("p", complaint, class_="problem") for complaint in told]
    said = f"{plural(len(complaints), 'complaint')}" + (
        f", the first {len(told)}" if len(told) < len(complaints) else ""
    )
    return card(
        title,
        table(HEADINGS, rows, "Sessions"),
        folded(tag("span", said, class_="badge warn"), *lines) if complaints else None,
    )


def session_label(session: JsonObject) -> Html:
    """The file and the beginning of the id, which together are found again."""
    name = str(session.get("session"))
    file = str(session.get("file") or "").replace("\\", "/").rpartition("/")[2]
    return joined(tag("b", file.partition(".")[0] or UNKNOWN), " ", tag("small", name[:8], title=name))


def _row(session: JsonObject) -> Sequence[Child]:
    prompt, cached = session.get("prompt_tokens"), session.get("prompt_tokens_cached")
    share = percent(cached, prompt)
    bar = None
    if cached is not None and prompt:
        bar = stacked([("reused", cached)], f"{share} of the prompt tokens from the cache", of=prompt)
    errors = session.get("n_errors") or 0
    return (
        session_label(session),
        whole(session.get("n_turns")),
        whole(session.get("n_lanes")),
        whole(session.get("n_tool_calls")),
        tag("b", whole(errors), class_="problem") if errors else "0",
        whole(prompt),
        share,
        bar,
        whole(session.get("output_tokens")),
        str(session.get("models") or UNKNOWN),
    )
