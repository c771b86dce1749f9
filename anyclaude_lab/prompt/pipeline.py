"""The list of transforms and the one function that runs them.

A transform is a pure function of the request, the plan and what the lane decided. It never edits its input; where it
changes nothing it returns the very same object. A new transform is one module and one row here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anyclaude_lab.prompt.billing import remove_billing
from anyclaude_lab.prompt.defer import choose_deferred, defer_tools
from anyclaude_lab.prompt.deferred import place_deferred
from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.loops import hint_at_loops
from anyclaude_lab.prompt.sections import CHARACTERS, Sections, TextCount, measured
from anyclaude_lab.prompt.spelling import drop_thinking, spell_calls, spell_canonically, spell_tools
from anyclaude_lab.prompt.stabilise import stabilise
from anyclaude_lab.prompt.stubs import expand_failed, stub_tools
from anyclaude_lab.prompt.tiers import choose_tier, filter_system
from anyclaude_lab.prompt.tools import allow_tools, hide_web_search, order_tools
from anyclaude_lab.wire.request import Request


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to every request of a way of answering.

    The defaults are those of a translating mode that shortens nothing. Passthrough runs no pipeline at all.
    """

    spell_canonically: bool = True
    strip_billing: bool = True
    tool_allowlist: tuple[str, ...] | None = None  # None allows every tool
    hide_web_search: bool = True  # no search service is configured
    place_deferred: bool = True
    order_tools: bool = True
    stabilise: bool = True
    keep_thinking: bool = False
    tier: str = "off"  # one of TIERS, or `auto`
    defer_tools: bool = False  # those of MCP servers, where they are many and the client can search for them
    loop_hints: bool = False  # behind the results of a call that is made again and again
    stub_tools: bool = False
    whole_tools: frozenset[str] = frozenset()  # names of tools whose texts are not shortened


@dataclass(frozen=True, slots=True)
class Situation:
    """What a transform may look at besides the request. `count` gives the tokens of a text, the same at any time."""

    plan: Plan
    lane: LaneState
    count: TextCount
    window_tokens: int | None


@dataclass(frozen=True, slots=True)
class Transform:
    """One row of the pipeline: its name, why it exists, when a plan asks for it, and the function.

    `decide` settles what belongs to the lane; it is asked before every `apply` and answers the same from then on.
    `explain` says more about what became of one request, for people.
    """

    name: str
    why: str
    asked: Callable[[Plan], bool]
    apply: Callable[[Request, Situation], Request]
    decide: Callable[[Request, Situation], LaneState] | None = None
    explain: Callable[[Request, Situation], str] | None = None
    may_grow: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What one transform did to one request."""

    transform: Transform
    at: Situation
    before: Request
    after: Request

    @property
    def name(self) -> str:
        return self.transform.name

    @property
    def changed(self) -> bool:
        return self.after is not self.before


@dataclass(frozen=True, slots=True)
class Report:
    """A step in numbers: the sections before and after it, in tokens or characters."""

    name: str
    why: str
    note: str  # what it says about this very request
    before: Sections
    after: Sections


def _tier(at: Situation) -> str:
    return at.lane.tier if at.plan.tier == "auto" and at.lane.tier is not None else at.plan.tier


def _decide_tier(request: Request, at: Situation) -> LaneState:
    if at.plan.tier != "auto" or at.lane.tier is not None:
        return at.lane
    return replace(at.lane, tier=choose_tier(request, at.count, at.window_tokens))


def _explain_tier(request: Request, at: Situation) -> str:
    filtered = filter_system(request, _tier(at), at.count)
    unmet = filtered.budget_unmet_tokens
    over = f"; budget_unmet: protected text is {unmet:,} tokens over the budget" if unmet else ""
    return f"{_tier(at)}, {filtered.family} prompt{over}"


def _decide_deferred(request: Request, at: Situation) -> LaneState:
    if at.lane.deferred is not None:
        return at.lane
    return replace(at.lane, deferred=choose_deferred(request, at.count))


def _stub(request: Request, whole: frozenset[str]) -> Request:
    return expand_failed(stub_tools(request, keep=whole), request.tools)


# In the order they run: spelling first, so that the others meet one spelling, arguments before definitions move.
TRANSFORMS: tuple[Transform, ...] = (
    Transform(
        "spelling",
        "one spelling of the same history, cache markers removed",
        lambda plan: plan.spell_canonically,
        lambda request, _: spell_canonically(request),
    ),
    Transform(
        "calls",
        "arguments in the order in which models write them, as the client sends some back otherwise",
        lambda plan: plan.spell_canonically,
        lambda request, _: spell_calls(request),
    ),
    Transform(
        "thinking",
        "some templates drop earlier thinking later on, which would move what follows it",
        lambda plan: not plan.keep_thinking,
        lambda request, _: drop_thinking(request),
    ),
    Transform(
        "billing",
        "the attribution block differs in every conversation and stands before everything else",
        lambda plan: plan.strip_billing,
        lambda request, _: remove_billing(request),
    ),
    Transform(
        "allowlist",
        "only the tools that the settings allow",
        lambda plan: plan.tool_allowlist is not None,
        lambda request, at: allow_tools(request, at.plan.tool_allowlist),
    ),
    Transform(
        "web search",
        "no search service is configured",
        lambda plan: plan.hide_web_search,
        lambda request, _: hide_web_search(request),
    ),
    Transform(
        "tool order",
        "tools sorted by name, whatever order they connected in, each in one spelling",
        lambda plan: plan.order_tools,
        lambda request, _: spell_tools(order_tools(request)),
    ),
    Transform(
        "tier",
        "system text that a model of this size can do without is left out",
        lambda plan: plan.tier != "off",
        lambda request, at: filter_system(request, _tier(at), at.count).request,
        decide=_decide_tier,
        explain=_explain_tier,
    ),
    Transform(
        "loops",
        "a call that was made three times with the same result is followed by a word about it",
        lambda plan: plan.loop_hints,
        lambda request, _: hint_at_loops(request),
        may_grow=True,
    ),
    Transform(
        "defer",
        "many tools of MCP servers are named only, and defined once the model asks",
        lambda plan: plan.defer_tools,
        lambda request, at: defer_tools(request, names=at.lane.deferred or ()),
        decide=_decide_deferred,
        may_grow=True,
    ),
    Transform(
        "deferred",
        "definitions loaded in mid-conversation stand where they were asked for, not in the head",
        lambda plan: plan.place_deferred,
        lambda request, _: place_deferred(request),
        may_grow=True,
    ),
    Transform(
        "stubs",
        "tools in one line each; in full behind a call that got its arguments wrong",
        lambda plan: plan.stub_tools,
        lambda request, at: _stub(request, at.plan.whole_tools),
        may_grow=True,
    ),
    Transform(
        "stabilise",
        "what differs between sessions stands in the first user turn, so that they share their head",
        lambda plan: plan.stabilise,
        lambda request, _: stabilise(request),
        may_grow=True,
    ),
)


def run(
    request: Request,
    plan: Plan,
    lane: LaneState | None = None,
    *,
    count: TextCount | None = None,
    window_tokens: int | None = None,
) -> tuple[Request, LaneState, list[Step]]:
    """The request after every transform the plan asks for, what its lane has decided, and what each step did.

    Without `lane`, what it decided at its first request is decided again. `count` must not change over a lane's
    lifetime; without one, characters stand for tokens.
    """
    at = Situation(plan, lane or LaneState(), count or CHARACTERS, window_tokens)
    steps = []
    for transform in TRANSFORMS:
        if not transform.asked(plan):
            continue
        if transform.decide is not None:
            at = Situation(plan, transform.decide(request, at), at.count, window_tokens)
        result = transform.apply(request, at)
        steps.append(Step(transform, at, request, result))
        request = result
    return request, at.lane, steps


def reported(steps: Sequence[Step], count: TextCount = len) -> list[Report]:
    """The steps that changed something, in tokens of `count`; in characters without one."""
    reports: list[Report] = []
    sections = None
    for step in steps:
        if step.changed:
            before = sections or measured(step.before, count)
            sections = measured(step.after, count, since=(step.before, before))
            explain = step.transform.explain
            note = explain(step.before, step.at) if explain else ""
            reports.append(Report(step.name, step.transform.why, note, before, sections))
    return reports
