"""Calls of a model with random weights, held to a tool list of real size; what the grammar costs a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from benchmarks.engine.measure import Bench, Estimate
from benchmarks.engine.serving import Messages, Server, ours

CALLS = 200
MOST_LETTERS, MOST_ITEMS = 12, 3  # random weights would write for ever
TALK: Messages = [{"role": "user", "content": "Do something."}]
Tool = dict[str, Any]


def calls(bench: Bench, release: str | None, count: int = CALLS) -> None:
    """Calls that fit their schemas, of those that a random model was made to begin."""
    tools = the_clients(release, bench.scratch) if release else made()
    what = f"calls of a random model, {len(tools)} tools of {len(json.dumps(tools))} characters"
    with ours(bench.model, grammar=True) as server:
        bounds = judged(server, [bounded(tool) for tool in tools], count, 1500)
        bench.tell(f"{what}, texts and lists bounded", **bounds)
        bench.tell(f"{what}, as they are, 150 tokens at most", **judged(server, tools, count // 2, 150))
        kept = per_token(server, tools)
    free = per_token(bench.servers[0], tools)
    bench.tell("per token within calls", grammar=Estimate.of(kept, "ms"), free=Estimate.of(free, "ms"))


def judged(server: Server, tools: list[Tool], count: int, max_tokens: int) -> dict[str, int]:
    """How many were whole and fit, were whole and do not, were cut by their length and are no calls, or never came."""
    found = {"fit": 0, "do_not": 0, "cut_by_length": 0, "missing": 0}
    names = set()
    for seed in range(count):
        _, answer = server.whole(**asked(tools, seed), max_tokens=max_tokens)
        choice = answer["choices"][0]
        if called := choice["message"].get("tool_calls"):
            found["fit" if all(fits(call["function"], tools) for call in called) else "do_not"] += 1
            names |= {call["function"]["name"] for call in called}
        else:
            found["cut_by_length" if choice["finish_reason"] == "length" else "missing"] += 1
    return found | {"tools_called": len(names)}


def the_clients(release: str, scratch: Path) -> list[Tool]:
    """What the real client offers its model today; recorded here and now, and kept nowhere."""
    from tests.prompt.live import recording

    tools = recording(release, scratch / "recorded").first("work").tools
    plain = [tool for tool in tools if "input_schema" in tool]
    return [_tool(tool["name"], tool.get("description", ""), tool["input_schema"]) for tool in plain]


def made() -> list[Tool]:
    """24 tools of our own, with what the client's schemas have: enums, lists of objects, bounds, defaults, unions."""
    text = "What it is for, when it is better left alone, and what comes back. " * 30
    string = {"type": "string", "description": text[:200]}
    item = {
        "type": "object",
        "properties": {"content": string, "status": {"type": "string", "enum": ["pending", "done"]}},
        "required": ["content", "status"],
        "additionalProperties": False,
    }
    shapes: list[dict[str, Any]] = [
        {"path": string, "offset": {"type": "integer", "minimum": 0}, "limit": {"type": "integer", "maximum": 2000}},
        {"command": string, "timeout": {"type": "number", "default": 120}, "background": {"type": "boolean"}},
        {"items": {"type": "array", "items": item, "minItems": 1}},
        {
            "pattern": string,
            "mode": {"type": "string", "enum": ["content", "files", "count"]},
            "-n": {"type": "boolean"},
        },
        {"url": {"type": "string", "format": "uri"}, "prompt": string},
        {"edits": {"type": "array", "items": item}, "of": {"anyOf": [string, {"type": "null"}]}},
    ]
    schemas = [
        {"type": "object", "properties": s, "required": [next(iter(s))], "additionalProperties": False} for s in shapes
    ]
    return [_tool(f"Tool{number}", text, schemas[number % len(schemas)]) for number in range(24)]


def bounded(schema: Any) -> Any:
    """The same with strings and lists of a bounded length."""
    if isinstance(schema, list):
        return [bounded(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: bounded(value) for name, value in schema.items()}
    if inner.get("type") == "string" and not {"enum", "const", "format", "pattern", "maxLength"} & inner.keys():
        inner["maxLength"] = max(MOST_LETTERS, inner.get("minLength", 0))
    if inner.get("type") == "array" and "maxItems" not in inner:
        inner["maxItems"] = max(MOST_ITEMS, inner.get("minItems", 0))
    return inner


def fits(call: dict[str, str], tools: list[Tool]) -> bool:
    schema = next(t["function"]["parameters"] for t in tools if t["function"]["name"] == call["name"])
    return bool(Draft202012Validator(schema).is_valid(json.loads(call["arguments"])))


def asked(tools: list[Tool], seed: int) -> dict[str, Any]:
    """A call of any tool. The prompt has their names only: a letter is a token, and the grammar knows the rest."""
    named = [_tool(tool["function"]["name"], "", {}) for tool in tools]
    choice = {"tool_choice": "required", "temperature": 1.0, "seed": seed}
    return {"messages": TALK, "tools": named, "callable_tools": tools, **choice}


def per_token(server: Server, tools: list[Tool]) -> list[float]:
    """Milliseconds, without the prompt's."""
    found = []
    for seed in range(20):
        short, _ = server.whole(**asked(tools, seed), max_tokens=1)
        long, answer = server.whole(**asked(tools, seed), max_tokens=200)
        if (tokens := answer["usage"]["completion_tokens"]) > 20 and long > short:
            found.append(1000 * (long - short) / (tokens - 1))
    return found


def _tool(name: str, description: str, schema: dict[str, Any]) -> Tool:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
