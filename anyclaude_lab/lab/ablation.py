"""`lab.stub_ablation`: what a line in the place of each tool's text saves, and whether calls still fit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from anyclaude_lab.lab.answers import Call
from anyclaude_lab.lab.arms import embedded_renderer
from anyclaude_lab.lab.frames import frame
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.metrics.fidelity import schema_error
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.lab.replay import replay
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.variant import variant
from anyclaude_lab.prompt.stubs import stub_tools
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

FULL, STUBBED = "full", "stubbed"
COLUMNS = ("tool", "saved_tokens", *(f"{fit}calls_{arm}" for arm in (FULL, STUBBED) for fit in ("", "valid_")))


def stub_ablation(traces: Traces, *, backend: str = "embedded", adapter: str = "none", **options: Any) -> pd.DataFrame:
    """A row for each tool. `saved_tokens`: what its stub alone takes out of a prompt with all tools.

    `calls_*` counts the calls of it that `backend` made with the texts in full and stubbed, `valid_calls_*` those whose
    arguments fit its schema as the client wrote it. `options` are those of `lab.replay`. Tokens are counted as the
    embedded model reads them.
    """
    tools = _tools(traces)
    arms = [variant(name, backend=backend, adapter=adapter, stub_tools=name == STUBBED) for name in (FULL, STUBBED)]
    run = replay(traces, arms, **options)
    made, fit = _calls(run, tools)
    renderer = embedded_renderer(adapter)
    saved = _saved_tokens([*tools.values()], renderer)
    rows = []
    for name in tools:
        row: dict[str, Any] = {"tool": name, "saved_tokens": saved[name]}
        for arm in (FULL, STUBBED):
            row |= {f"calls_{arm}": made[arm, name], f"valid_calls_{arm}": fit[arm, name]}
        rows.append(row)
    table = frame(rows, COLUMNS, tokenizer=renderer.name, backend=backend)
    return table.sort_values(["saved_tokens", "tool"], ascending=[False, True], kind="stable", ignore_index=True)


def _tools(traces: Traces) -> dict[str, JsonObject]:
    """Every tool by name, as it was first defined."""
    found: dict[str, JsonObject] = {}
    for trace in traces.traces():
        for exchange in trace.in_order():
            for tool in exchange.request().tools:
                if "input_schema" in tool:
                    found.setdefault(str(tool["name"]), {k: v for k, v in tool.items() if k != "defer_loading"})
    return found


def _calls(run: Run, tools: dict[str, JsonObject]) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """(arm, tool) to the number of calls, and of those that fit."""
    made, fit = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for cell in run.cells:
        for block in cell.get("answer") or ():
            if block["type"] != "tool_use" or block["name"] not in tools:
                continue
            key = (str(cell["variant"]), str(block["name"]))
            call = Call(block["id"], block["name"], "", block["input"])
            made[key] += 1
            fit[key] += schema_error(call, tools[call.name]["input_schema"]) is None
    return made, fit


def _saved_tokens(tools: list[JsonObject], renderer: Renderer) -> dict[str, int]:
    names = frozenset(str(tool["name"]) for tool in tools)
    request = Request({"tools": tools, "messages": [{"role": "user", "content": "Hello"}]})

    def size(whole: frozenset[str]) -> int:
        prompt = renderer.prompt(stub_tools(request, keep=whole))
        return len(prompt.tokens) if prompt else 0

    full = size(names)
    return {name: full - size(names - {name}) for name in names}
