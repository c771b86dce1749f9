"""`lab.explain`: what a variant does to one request, step by step, and the very text a model then reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.arms import embedded_renderer, plan_of
from anyclaude_lab.lab.frames import frame
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.lab.variant import Variant, checked
from anyclaude_lab.prompt.pipeline import Report, reported, run
from anyclaude_lab.prompt.sections import Sections, measured
from anyclaude_lab.trace.read import Recorded
from anyclaude_lab.views.explanation import explanation_view
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request


@dataclass(frozen=True, slots=True)
class Explanation:
    """`request` is what is sent, `prompt` the rendered text (None where the template refuses it), counts are tokens."""

    variant: str
    tokenizer: str
    before: Sections
    after: Sections
    reports: tuple[Report, ...]
    request: Request
    prompt: str | None
    prompt_tokens: int | None

    @property
    def steps(self) -> pd.DataFrame:
        """A row for each step that changed something."""
        rows = [
            {
                "step": report.name,
                "why": report.why,
                "note": report.note or None,
                "tokens_before": report.before.total,
                "tokens_after": report.after.total,
                "saved_tokens": report.before.total - report.after.total,
            }
            for report in self.reports
        ]
        columns = ("step", "why", "note", "tokens_before", "tokens_after", "saved_tokens")
        return frame(rows, columns, tokenizer=self.tokenizer)

    def __repr__(self) -> str:
        sizes = f"{self.before.total:,} -> {self.after.total:,} tokens ({self.tokenizer})"
        return f"<Explanation of {self.variant}: {sizes}; {', '.join(r.name for r in self.reports) or 'unchanged'}>"

    def _repr_html_(self) -> str:
        title = f"{self.variant}: {self.before.total:,} → {self.after.total:,} tokens"
        return explanation_view(title, self.tokenizer, self.before, self.after, self.reports, self.prompt)


def explain(
    request_or_turn: Request | Turn | Recorded | JsonObject, variant: Variant, *, renderer: Renderer | None = None
) -> Explanation:
    """Explain a request (a body is one as well) or a recorded turn. Rendered as the embedded model reads it."""
    request = _request(request_or_turn)
    renderer = renderer or embedded_renderer(checked(variant).adapter)
    sent, _, steps = run(request, plan_of(variant)) if variant.translates else (request, None, [])
    prompt = renderer.prompt(sent)
    return Explanation(
        variant=variant.name,
        tokenizer=renderer.name,
        before=measured(request, renderer.count),
        after=measured(sent, renderer.count),
        reports=tuple(reported(steps, renderer.count)),
        request=sent,
        prompt=prompt.text if prompt else None,
        prompt_tokens=len(prompt.tokens) if prompt else None,
    )


def _request(found: Any) -> Request:
    if isinstance(found, Request):
        return found
    if isinstance(found, Turn):
        return found.request
    if isinstance(found, Recorded):
        return found.request()
    if isinstance(found, dict) and "messages" in found:
        return Request(found)
    raise SettingsError(f"A request, its body or a recorded turn can be explained, not a {type(found).__name__}.")
