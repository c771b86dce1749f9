"""What a variant makes of one recorded turn, next to the same turn without prompt work; nothing is generated."""

from __future__ import annotations

from functools import cache

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.arms import embedded_renderer, plan_of
from anyclaude_lab.lab.breaks import Sent, find_break
from anyclaude_lab.lab.explain import explain
from anyclaude_lab.lab.metrics.reuse import shared_tokens
from anyclaude_lab.lab.rendered import Prompt, Renderer
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.lab.variant import Variant, variant
from anyclaude_lab.prompt.pipeline import run
from anyclaude_lab.prompt.sections import CHARACTERS
from anyclaude_lab.prompt.tiers import SectionFate, filter_system
from anyclaude_lab.views.pair import Pair, Window
from anyclaude_lab.views.trial import Trial
from anyclaude_lab.wire.request import Request

UNTOUCHED = variant("as recorded", backend="embedded", strip_billing=False, stabilise=False)
TOKENS_SHOWN = 40  # before a break, and after it


def trial(turn: Turn, chosen: Variant) -> Trial:
    """Sizes, steps, sections and prompt of a variant, and what it can reuse of the turn before.

    Raises InvalidRequest for a turn whose request cannot be read.
    """
    renderer = _renderer(chosen.adapter)
    told, plain = (explain(turn, one, renderer=_renderer(one.adapter)) for one in (chosen, UNTOUCHED))
    return Trial(
        variant=chosen.name,
        tokenizer=told.tokenizer,
        before=plain.before,
        after=told.after,
        reports=told.reports,
        fates=fates(turn.request, chosen),
        plain=plain.prompt,
        plain_tokens=plain.prompt_tokens,
        prompt=told.prompt,
        prompt_tokens=told.prompt_tokens,
        reused_tokens=reused_tokens(turn, chosen, renderer),
    )


def fates(request: Request, chosen: Variant) -> tuple[SectionFate, ...]:
    """What becomes of each kind of system text at the variant's tier; tokens as the pipeline guesses them."""
    _, lane, steps = run(request, plan_of(chosen))
    tier = lane.tier or chosen.tier
    before = next((step.before for step in steps if step.name == "tier"), request)
    return filter_system(before, tier, CHARACTERS).sections


def reused_tokens(turn: Turn, chosen: Variant, renderer: Renderer) -> int | None:
    """Tokens of the turn's prompt that the prompt and answer before it begin with; None without either."""
    if turn.previous is None:
        return None
    now, before = (renderer.prompt(_sent(one.request, chosen)) for one in (turn, turn.previous))
    if now is None or before is None:
        return None
    held = renderer.continued(_sent(turn.previous.request, chosen), turn.previous.answer.blocks())
    return shared_tokens(now.tokens, before.tokens if held is None else held)


def pair(first: Turn, second: Turn, chosen: Variant = UNTOUCHED) -> Pair:
    """Two turns as a model reads them, and where the second stops being the first one continued.

    Raises SettingsError where the chat template refuses one of them.
    """
    renderer = _renderer(chosen.adapter)
    before, after = _rendered(first, chosen, renderer), _rendered(second, chosen, renderer)
    found = find_break(before, after, renderer)
    shared = shared_tokens(before.prompt.tokens, after.prompt.tokens)
    return Pair(
        first=_title(first),
        second=_title(second),
        variant=chosen.name,
        tokenizer=renderer.name,
        first_tokens=len(before.prompt.tokens),
        second_tokens=len(after.prompt.tokens),
        shared_tokens=shared,
        broken=found.as_json() if found else None,
        before=_window(before.prompt, shared),
        after=_window(after.prompt, shared),
    )


@cache
def _renderer(adapter: str) -> Renderer:
    return embedded_renderer(adapter)


def _sent(request: Request, chosen: Variant) -> Request:
    return run(request, plan_of(chosen))[0] if chosen.translates else request


def _rendered(turn: Turn, chosen: Variant, renderer: Renderer) -> Sent:
    request, _, steps = run(turn.request, plan_of(chosen))
    prompt = renderer.prompt(request)
    if prompt is None:
        raise SettingsError(f"The chat template refuses {_title(turn)}: it cannot be compared in tokens.")
    return Sent(turn.request, request, steps, prompt)


def _window(prompt: Prompt, at: int) -> Window:
    start, end = max(0, at - TOKENS_SHOWN), min(len(prompt.tokens), at + TOKENS_SHOWN)
    ends = [*prompt.starts[start + 1 : end + 1], *([len(prompt.text)] if end == len(prompt.tokens) else [])]
    return Window([prompt.text[a:b] for a, b in zip(prompt.starts[start:end], ends, strict=True)], at - start)


def _title(turn: Turn) -> str:
    return f"turn {turn.facts['turn']} of {turn.facts['lane']}"
