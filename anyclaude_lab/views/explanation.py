"""What prompt work did to one request: its sections before and after, and what each step saved."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude_lab.prompt.pipeline import Report
from anyclaude_lab.prompt.sections import Sections
from anyclaude_lab.views.bars import stacked
from anyclaude_lab.views.figures import UNKNOWN, percent, whole
from anyclaude_lab.views.html import Child, Html, tag
from anyclaude_lab.views.notebook import Heading, card, folded, note, table, text

SECTIONS = ("system", "tools", "messages")
_SIZES: tuple[Heading, ...] = (
    ("", None),
    ("System", "n"),
    ("Tools", "n"),
    ("Messages", "n"),
    ("In all", "n"),
    ("", "wide"),
)
_STEPS: tuple[Heading, ...] = (("Step", None), ("Tokens saved", "n"), ("Why", "why"), ("", "why"))


def explanation_view(
    title: str, tokenizer: str, before: Sections, after: Sections, reports: Sequence[Report], prompt: str | None
) -> Html:
    """The card of an explanation. Sizes are tokens of `tokenizer`; `prompt` is None where the template refuses it."""
    saved = before.total - after.total
    shown = (
        text(prompt, "The rendered prompt") if prompt is not None else note("the chat template refuses this request")
    )
    return card(
        title,
        sizes(before, after),
        steps(reports),
        folded("The rendered prompt", shown),
        aside=f"{whole(saved)} tokens saved, {percent(saved, before.total)}; {tokenizer}",
    )


def sizes(before: Sections, after: Sections) -> Html:
    """Both as a row of figures and a bar."""
    whole_tokens = max(before.total, after.total)
    return table(
        _SIZES, [_size("before", before, whole_tokens), _size("after", after, whole_tokens)], "Tokens by section"
    )


def steps(reports: Sequence[Report]) -> Html:
    """A row for each step that changed something."""
    return (
        table(_STEPS, [_step(report) for report in reports], "Steps") if reports else note("no step changed anything")
    )


def _size(name: str, sections: Sections, of: int) -> Sequence[Child]:
    parts = [(section, getattr(sections, section)) for section in SECTIONS]
    said = ", ".join(f"{section} {whole(size)}" for section, size in parts)
    bar = stacked(parts, f"{name}, tokens: {said}", of=of) if of else None
    return tag("b", name), *(whole(size) for _, size in parts), tag("b", whole(sections.total)), bar


def _step(report: Report) -> Sequence[Child]:
    saved = report.before.total - report.after.total
    return tag("b", report.name), f"{saved:+,}" if saved else "0", report.why, report.note or UNKNOWN
