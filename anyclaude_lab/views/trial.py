"""What a variant makes of one recorded turn: sizes, sections kept and dropped, the prompt, reuse, and a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude_lab.prompt.pipeline import Report
from anyclaude_lab.prompt.sections import Sections
from anyclaude_lab.prompt.tiers import SectionFate
from anyclaude_lab.views.diff import difference
from anyclaude_lab.views.explanation import sizes, steps
from anyclaude_lab.views.figures import UNKNOWN, percent, plural, seconds, whole
from anyclaude_lab.views.html import Child, Html, joined, tag
from anyclaude_lab.views.notebook import Heading, card, folded, note, pairs, part, table, text
from anyclaude_lab.views.page import badge
from anyclaude_lab.views.turn import block_text
from anyclaude_lab.wire.events import JsonObject

_SECTIONS: tuple[Heading, ...] = (("System text", None), ("Tokens, about", "n"), ("", None), ("Why", "why"))


@dataclass(frozen=True, slots=True)
class Trial:
    """`plain` is the rendered prompt of the request as recorded, `prompt` the variant's; None: the template refuses it.

    `reused_tokens`: how much of the prompt the turn before has left in a cache; None where there is no turn before.
    `replayed` is a cell of a replay, None where none was asked for.
    """

    variant: str
    tokenizer: str
    before: Sections
    after: Sections
    reports: Sequence[Report]
    fates: Sequence[SectionFate]
    plain: str | None
    plain_tokens: int | None
    prompt: str | None
    prompt_tokens: int | None
    reused_tokens: int | None

    @property
    def saved_tokens(self) -> int | None:
        """Rendered tokens that the variant leaves out; None where one of the prompts cannot be rendered."""
        if self.plain_tokens is None or self.prompt_tokens is None:
            return None
        return self.plain_tokens - self.prompt_tokens

    def html(self, replayed: JsonObject | None = None) -> Html:
        """The card."""
        return card(
            f"{self.variant}: {whole(self.plain_tokens)} → {whole(self.prompt_tokens)} tokens",
            pairs(self._figures()),
            part("Replay on the demonstration model") if replayed else None,
            replay_result(replayed) if replayed else None,
            part("Tokens by section of the request"),
            sizes(self.before, self.after),
            steps(self.reports),
            self._sections(),
            part("The rendered prompt, against the one without prompt work"),
            self._difference(),
            folded("The whole prompt", text(self.prompt or "", "The rendered prompt")),
            aside=self.tokenizer,
        )

    def _figures(self) -> list[tuple[str, Child]]:
        prompt, reused = self.prompt_tokens, self.reused_tokens
        anew = None if prompt is None or reused is None else prompt - reused
        return [
            ("Prompt tokens", whole(prompt)),
            ("Left out", whole(self.saved_tokens)),
            ("Share left out", percent(self.saved_tokens, self.plain_tokens)),
            (
                "Reusable after the turn before",
                _of(reused, prompt),
            ),
            ("Computed anew", whole(anew)),
        ]

    def _sections(self) -> Html | None:
        if not self.fates:
            return None
        dropped = [fate for fate in self.fates if not fate.kept]
        kept = [fate for fate in self.fates if fate.kept]
        title = f"{plural(len(dropped), 'kind')} of system text dropped, {len(kept)} kept"
        rows = [_fate(fate) for fate in (*dropped, *kept)]
        return joined(part(title), table(_SECTIONS, rows, "Sections of the system text"))

    def _difference(self) -> Html:
        if self.plain is None or self.prompt is None:
            return note("the chat template refuses this request")
        return difference(self.plain, self.prompt, "Difference of the rendered prompts")


def replay_result(cell: JsonObject) -> Html:
    """What was measured when the turn was asked again, and the calls of its answer."""
    if cell.get("error"):
        return tag("p", str(cell["error"]), class_="problem")
    prompt, cached = cell.get("prompt_tokens"), cell.get("prompt_tokens_cached")
    calls = [block for block in cell.get("answer") or () if block.get("type") == "tool_use"]
    said = "\n".join(block_text(block) for block in cell.get("answer") or ())
    return joined(
        pairs(
            [
                ("Prompt tokens", whole(prompt)),
                ("Cached tokens", _of(cached, prompt)),
                ("Time to first token", seconds(cell.get("ttft_s"))),
                ("Output tokens", whole(cell.get("output_tokens"))),
                ("Calls", ", ".join(str(call.get("name")) for call in calls) or "none"),
                ("Fidelity", UNKNOWN if cell.get("fidelity") is None else f"{cell['fidelity']:.2f}"),
            ]
        ),
        text(said, "The answer", 4000) if said else None,
    )


def _of(tokens: int | None, prompt_tokens: int | None) -> str:
    return f"{whole(tokens)} ({percent(tokens, prompt_tokens)})" if tokens and prompt_tokens else whole(tokens)


def _fate(fate: SectionFate) -> Sequence[Child]:
    shown = badge("good", "kept") if fate.kept else badge("warn", "dropped")
    return fate.title, whole(fate.tokens), shown, fate.why
