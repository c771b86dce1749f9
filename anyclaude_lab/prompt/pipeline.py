"""The list of transforms and the one function that runs them.

A transform is a pure function of the request and the plan. It never edits its input; where it changes nothing it
returns the very same object. A new transform is one module and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from anyclaude_lab.prompt.billing import remove_billing
from anyclaude_lab.prompt.deferred import place_deferred
from anyclaude_lab.prompt.spelling import spell_canonically
from anyclaude_lab.prompt.tools import allow_tools, hide_web_search, order_tools
from anyclaude_lab.wire.request import Request


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to every request of a conversation: chosen at its first request, then frozen.

    The defaults are those of a translating mode. Passthrough runs no pipeline at all.
    """

    spell_canonically: bool = True
    strip_billing: bool = True
    tool_allowlist: tuple[str, ...] | None = None  # None allows every tool
    hide_web_search: bool = True  # no search service is configured
    place_deferred: bool = True
    order_tools: bool = True


@dataclass(frozen=True, slots=True)
class Transform:
    """One row of the pipeline: its name, why it exists, when a plan asks for it, and the function."""

    name: str
    why: str
    asked: Callable[[Plan], bool]
    apply: Callable[[Request, Plan], Request]


@dataclass(frozen=True, slots=True)
class Step:
    """What one transform did to one request. Sizes are characters of the whole request body as JSON."""

    name: str
    changed: bool
    note: str
    chars_before: int
    chars_after: int


# In the order they run: spelling first, so that the others meet one spelling; deferred after the tools were chosen.
TRANSFORMS: tuple[Transform, ...] = (
    Transform(
        "spelling",
        "one spelling of the same history, cache markers removed",
        lambda plan: plan.spell_canonically,
        lambda request, plan: spell_canonically(request),
    ),
    Transform(
        "billing",
        "the attribution block differs in every conversation and stands before everything else",
        lambda plan: plan.strip_billing,
        lambda request, plan: remove_billing(request),
    ),
    Transform(
        "allowlist",
        "only the tools that the settings allow",
        lambda plan: plan.tool_allowlist is not None,
        lambda request, plan: allow_tools(request, plan.tool_allowlist),
    ),
    Transform(
        "web search",
        "no search service is configured",
        lambda plan: plan.hide_web_search,
        lambda request, plan: hide_web_search(request),
    ),
    Transform(
        "deferred",
        "definitions loaded in mid-conversation stand where they were asked for, not in the head",
        lambda plan: plan.place_deferred,
        lambda request, plan: place_deferred(request),
    ),
    Transform(
        "tool order",
        "tools sorted by name, whatever order they connected in",
        lambda plan: plan.order_tools,
        lambda request, plan: order_tools(request),
    ),
)


def run(request: Request, plan: Plan) -> tuple[Request, list[Step]]:
    """The request after every transform the plan asks for, and what each of them did."""
    steps = []
    chars = _chars(request)
    for transform in TRANSFORMS:
        if not transform.asked(plan):
            continue
        result = transform.apply(request, plan)
        changed = result is not request
        after = _chars(result) if changed else chars
        steps.append(Step(transform.name, changed, transform.why, chars, after))
        request, chars = result, after
    return request, steps


def _chars(request: Request) -> int:
    return len(orjson.dumps(request.body).decode())
