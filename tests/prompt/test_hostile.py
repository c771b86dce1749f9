"""Requests that nobody should send: processed or refused with a sentence, in time that grows with their size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.prompt.fit import fit
from anyclaude_lab.prompt.pipeline import Plan, reported, run
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, parse_request
from tests.prompt.conversations import BILLING, call, result, text, tool
from tests.prompt.tiers.prompts import FULL

PLANS = [Plan(), *(Plan(tier=tier, stub_tools=True, defer_tools=True) for tier in ("minimal", "extreme", "auto"))]


def body(**fields: Any) -> JsonObject:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}


def nested(depth: int) -> JsonObject:
    schema: JsonObject = {"type": "object"}
    for _ in range(depth):
        schema = (
            {"type": "object", "properties": {"a": schema}, "anyOf": [{"items": schema}]} if _ < 5 else {"not": schema}
        )
    return schema


CYCLE = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/tree"}},
    "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "up": {"$ref": "#"}}}},
}
HOSTILE: dict[str, JsonObject] = {
    "no headings": body(system="one line after the other\n" * 5000),
    "no line ends": body(system="word " * 50_000),
    "empty system": body(system=""),
    "empty blocks": body(system=[text(""), text(BILLING), text("\n\n")]),
    "system of headings": body(system="# A\n" * 20_000),
    "env opened often": body(system="<env>\n" * 20_000 + "x"),
    "a paragraph of folders": body(system="Working directory: /srv/app\n" * 10_000 + "\nEnd."),
    "2,000 tools": body(tools=[tool(f"mcp__server__tool_{n}") for n in range(2000)] + [tool("ToolSearch")]),
    "one tool 2,000 times": body(tools=[tool("Bash")] * 2000),
    "a cycle": body(tools=[{"name": "Tree", "input_schema": CYCLE}]),
    "a deep schema": body(tools=[{"name": "Deep", "input_schema": nested(150)}]),
    "odd tools": body(tools=[{"name": "A", "input_schema": {"properties": []}}, {"type": "web_search_20250305"}]),
    "5 MB of result": body(messages=[call("t", "Bash", {}), result("t", "x\n" * 2_500_000)]),
    "4,000 turns": body(messages=[m for n in range(2000) for m in (call(f"t{n}", "Bash", {}), result(f"t{n}", "ok"))]),
    "only an answer": body(messages=[{"role": "assistant", "content": []}]),
    "empty messages": body(messages=[{"role": "user", "content": ""}, {"role": "system", "content": []}]),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.tier)
def test_processed(name: str, plan: Plan) -> None:
    given = parse_request(orjson.dumps(HOSTILE[name]))
    before = orjson.dumps(given.body)
    sent, lane, steps = run(given, plan, window_tokens=32_768)
    assert orjson.dumps(given.body) == before
    again, _, _ = run(given, plan, lane, window_tokens=32_768)
    assert orjson.dumps(again.body) == orjson.dumps(sent.body)
    assert bool(sent.system) == any(not block["text"].startswith(BILLING) for block in given.system)
    reported(steps)
    fit(sent, len, 20_000)


@pytest.mark.parametrize("raw", [rb'"a \ud83d b"', rb'"\udc00"'], ids=["high", "low"])
def test_lone_surrogates_are_mended_at_the_door(raw: bytes) -> None:
    spelled = b'{"model":"m","max_tokens":9,"system":%b,"messages":[{"role":"user","content":%b}]}' % (raw, raw)
    for plan in PLANS:
        sent, _, _ = run(parse_request(spelled), plan)
        assert "\ufffd" in orjson.dumps(sent.body).decode()


@pytest.mark.parametrize("broken", [{"tools": {}}, {"system": [3]}, {"messages": [{"role": "user", "content": [4]}]}])
def test_what_is_no_request_is_refused_in_a_sentence(broken: JsonObject) -> None:
    with pytest.raises(InvalidRequest, match="Input should be"):
        parse_request(orjson.dumps(body(**broken)))


def instructions(function: Callable[[], object]) -> int:
    """How many lines of Python ran."""
    count = 0

    def trace(frame: object, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return count


GROWING: dict[str, Callable[[int], JsonObject]] = {
    "lines": lambda n: body(system="".join(f"# Part {i}\nDo thing {i}.\n\n" for i in range(n))),
    "folders": lambda n: body(system="".join(f"Working directory: /srv/app{i}\n" for i in range(n)) + "\nEnd."),
    "tools": lambda n: body(tools=[tool(f"mcp__server__tool_{i}") for i in range(n)] + [tool("ToolSearch")]),
    "turns": lambda n: body(
        messages=[m for i in range(n) for m in (call(f"t{i}", "Bash", {"a": i}), result(f"t{i}", "x" * 200))]
    ),
}


@pytest.mark.parametrize("name", GROWING)
def test_work_grows_with_size(name: str) -> None:
    """Counted in lines of Python, not in seconds."""
    plan = Plan(tier="extreme", stub_tools=True, defer_tools=True)

    def work(n: int) -> int:
        given = Request(GROWING[name](n))
        return instructions(lambda: fit(run(given, plan)[0], len, 2000))

    small, large = work(100), work(400)
    assert large < 6 * small


def test_a_lane_that_is_warm_costs_little() -> None:
    """What a head comes to is remembered: its texts are judged once, not with every request."""
    plan = Plan(tier="extreme", stub_tools=True)
    tools = [{**tool(f"Tool{n}"), "description": "Does one thing.\n" * 50} for n in range(20)]
    raw = orjson.dumps(body(system=[text(FULL + "\nWorking directory: /srv/warm")], tools=tools))
    cold = instructions(lambda: run(parse_request(raw), plan))
    warm = instructions(lambda: run(parse_request(raw), plan))
    assert warm < cold / 4
