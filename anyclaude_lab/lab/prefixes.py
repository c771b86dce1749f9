"""`lab.prefix_breaks`: what a variant's prompt work and a template do to the prefixes of recorded conversations."""

from __future__ import annotations

from collections.abc import Iterator

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.lab.arms import embedded_renderer, plan_of
from anyclaude_lab.lab.break_table import PrefixBreaks
from anyclaude_lab.lab.breaks import Break, Sent, find_break
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.lab.rows import Row, TraceRows
from anyclaude_lab.lab.variant import Variant
from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.pipeline import run
from anyclaude_lab.trace.read import Trace

COLUMNS = ("session", "lane", "turn", *Break.__slots__)


def prefix_breaks(traces: Traces, variant: Variant, *, renderer: Renderer | None = None) -> PrefixBreaks:
    """A row for each turn whose prompt does not begin with its lane's prompt before. Nothing is generated.

    Rendered as the model that comes with the package reads it, unless another `renderer` is given.
    """
    renderer = renderer or embedded_renderer(variant.adapter)
    rows = [row for trace in traces.traces() for row in _breaks(trace, variant, renderer)]
    return PrefixBreaks.of(rows, COLUMNS, variant=variant.name, tokenizer=renderer.name)


def _breaks(trace: Trace, variant: Variant, renderer: Renderer) -> Iterator[Row]:
    plan, lanes = plan_of(variant), dict[str, LaneState]()
    last: dict[str, Sent] = {}
    for exchange, row in zip(trace.in_order(), TraceRows(trace).turns, strict=True):
        try:
            original = exchange.request()
        except (InvalidRequest, KeyError):
            continue
        request, lanes[exchange.lane], steps = run(original, plan, lanes.get(exchange.lane))
        prompt = renderer.prompt(request)
        if prompt is None:
            continue
        sent = Sent(original, request, steps, prompt)
        before = last.get(exchange.lane)
        found = find_break(before, sent, renderer) if before is not None else None
        last[exchange.lane] = sent
        if found is not None:
            yield {name: row[name] for name in ("session", "lane", "turn")} | found.as_json()
