"""What does each transform of the prompt work cost, on its own, and the whole of it at each tier?

On a conversation of 100 turns. `python -m benchmarks.prompt cost` asks the same of recorded sessions of Claude Code.
"""

from __future__ import annotations

import statistics
from collections import defaultdict

from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.pipeline import TRANSFORMS, Plan, Situation, run
from anyclaude_lab.prompt.sections import CHARACTERS
from anyclaude_lab.prompt.tiers import TIERS
from anyclaude_lab.wire.request import Request
from benchmarks.questions.history import request
from benchmarks.questions.timing import cpu_ms, settled, timed
from benchmarks.results import Number, Options, Table

TURNS, ASKED = 100, 15
ALL = Plan(tier="extreme", stub_tools=True, defer_tools=True, tool_allowlist=tuple(f"Tool{n}" for n in range(19)))


def figures(options: Options) -> Table:
    """The median of requests that share no object, of a conversation that went this way before."""
    asked = [request(TURNS + n) for n in range(ASKED)]
    settled()
    alone: dict[str, list[float]] = defaultdict(list)
    for one in asked:
        _each(one, alone)
    rows = {f"transform {name}": _row(each) for name, each in alone.items()}
    for tier in TIERS:
        plan = Plan(tier=tier)
        run(asked[0], plan)
        rows[f"all, tier {tier}"] = _row([cpu_ms(lambda one=one, plan=plan: run(one, plan)) for one in asked])  # type: ignore[misc]  # a lambda with defaults has no type for mypy
    return Table(rows, f"CPU ms of n = {ASKED} requests of {len(asked[0].raw) // 1000} KB, {TURNS} turns")


def _each(one: Request, alone: dict[str, list[float]]) -> None:
    at = Situation(ALL, LaneState(), CHARACTERS, None)
    for transform in TRANSFORMS:
        if transform.decide is not None:
            at = Situation(ALL, transform.decide(one, at), CHARACTERS, None)
        one, ms = timed(lambda one=one, at=at, apply=transform.apply: apply(one, at))  # type: ignore[misc]  # a lambda with defaults has no type for mypy
        alone[transform.name].append(ms)


def _row(ms: list[float]) -> dict[str, Number]:
    return {"median_ms": statistics.median(ms), "least_ms": min(ms), "most_ms": max(ms)}
