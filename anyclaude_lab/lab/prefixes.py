"""`lab.prefix_breaks`: what a variant's prompt work and a template do to the prefixes of recorded conversations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pandas as pd

from anyclaude_lab.errors import InvalidRequest, SettingsError
from anyclaude_lab.lab.arms import embedded_renderer, plan_of
from anyclaude_lab.lab.break_table import PrefixBreaks
from anyclaude_lab.lab.breaks import OTHER_LANE, Break, Sent, find_break
from anyclaude_lab.lab.explain import explain
from anyclaude_lab.lab.frames import frame
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.metrics.reuse import shared_tokens
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.lab.rows import Row, TraceRows
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.lab.variant import Variant, checked
from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.pipeline import run
from anyclaude_lab.trace.read import Recorded
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

COLUMNS = ("session", "lane", "turn", "previous_lane", *Break.__slots__)
ORDERS = ("lane", "arrival")


def prefix_breaks(
    traces: Traces, variant: Variant, *, order: str = "lane", renderer: Renderer | None = None
) -> PrefixBreaks:
    """A row for each turn whose prompt does not begin with the prompt before it. Nothing is generated.

    `order`: `lane` compares with the lane's own last prompt; `arrival` with whatever was sent just before, by any lane
    or session: what a cache that several conversations share has to bear. Rendered as the model that comes with the
    package reads it, unless another `renderer` is given. Raises SettingsError.
    """
    if order not in ORDERS:
        raise SettingsError(f'"{order}" is no order; there are: {", ".join(ORDERS)}.')
    renderer = renderer or embedded_renderer(checked(variant).adapter)
    found = (_place(row) | told.as_json() for row, _, _, told in broken(traces, variant, renderer, order))
    return PrefixBreaks.of(found, COLUMNS, variant=variant.name, tokenizer=renderer.name, order=order)


def shared_heads(
    requests: Sequence[Request | Turn | Recorded | JsonObject],
    variants: Sequence[Variant],
    *,
    renderer: Renderer | None = None,
) -> pd.DataFrame:
    """How much of each request the one before it has left in a cache: a row for each variant and neighbouring pair.

    `shared_tokens` are those before the first difference, of the `prompt_tokens` of the later request. Give the first
    requests of sessions that follow one another. Raises SettingsError for fewer than two.
    """
    if len(requests) < 2:
        raise SettingsError("A head is shared by at least two requests.")
    renderer = renderer or embedded_renderer()
    rows = []
    for variant in variants:
        sent = [explain(request, variant, renderer=renderer).request for request in requests]
        prompts = [found.tokens for request in sent if (found := renderer.prompt(request)) is not None]
        for number, (before, after) in enumerate(pairwise(prompts)):
            told = {"shared_tokens": shared_tokens(before, after), "prompt_tokens": len(after)}
            rows.append({"variant": variant.name, "pair": number} | told)
    return frame(rows, ("variant", "pair", "shared_tokens", "prompt_tokens"), tokenizer=renderer.name)


def broken(
    traces: Traces, variant: Variant, renderer: Renderer, order: str = "lane"
) -> Iterator[tuple[Row, Sent, Sent, Break]]:
    """The breaks with the two turns between which each is: (facts, before, after, break)."""
    last: dict[str, tuple[str, Sent]] = {}
    for row, sent in _sent(traces, variant, renderer):
        key = row["lane"] if order == "lane" else ""
        lane, before = last.get(key, ("", None))
        last[key] = row["lane"], sent
        found = find_break(before, sent, renderer) if before is not None else None
        if found is not None and before is not None:
            if lane != row["lane"]:
                found = replace(found, cause=OTHER_LANE, transform_blamed=None, fixed_tokens=0, fixed_by=None)
            yield row | {"previous_lane": lane}, before, sent, found


def _sent(traces: Traces, variant: Variant, renderer: Renderer) -> Iterator[tuple[Row, Sent]]:
    """Every turn as the variant would send it, in the order they came."""
    plan, lanes = plan_of(variant), dict[str, LaneState]()
    for trace in traces.traces():
        for exchange, row in zip(trace.in_order(), TraceRows(trace).turns, strict=True):
            try:
                original = exchange.request()
            except (InvalidRequest, KeyError):
                continue
            request, lanes[exchange.lane], steps = run(original, plan, lanes.get(exchange.lane))
            prompt = renderer.prompt(request)
            if prompt is not None:
                yield row, Sent(original, request, steps, prompt)


def _place(row: Row) -> Row:
    return {name: row[name] for name in ("session", "lane", "turn", "previous_lane")}
