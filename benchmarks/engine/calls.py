"""Calls of a model with random weights, held to a tool list of real size; what the grammar costs a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from benchmarks.engine.measure import Bench, Estimate
from benchmarks.engine.serving import Messages, Server, ours

CALLS = 200
MOST_LETTERS, MOST_ITEMS = 24, 3  # random weights would write for ever
TALK: Messages = [{"role": "user", "content": "Do something."}]
Tool = dict[str, Any]


def calls(bench: Bench, tools_file: Path | None, count: int = CALLS) -> None:
    """Calls that fit their schemas, of those that a random model was made to begin."""
    tools = [bounded(tool) for tool in (given(tools_file) if tools_file else made())]
    right = wrong = cut = 0
    seen = set()
    with ours(bench.model, grammar=True) as server:
        for seed in range(count):
            _, answer = server.whole(**asked(tools, seed), max_tokens=1500)
            found = answer["choices"][0]["message"].get("tool_calls")
            good = found is not None and fits(found[0]["function"], tools)
            right, wrong, cut = right + good, wrong + (found is not None and not good), cut + (found is None)
            seen |= {call["function"]["name"] for call in found or ()}
        kept = per_token(server, tools)
    size = len(json.dumps(tools))
    what = f"calls of a random model, {len(tools)} tools of {size} characters"
    bench.tell(what, fit=right, do_not=wrong, cut_by_length=cut, tools_called=len(seen))
    free = per_token(bench.servers[0], tools)
    bench.tell("per token within calls", grammar=Estimate.of(kept, "ms"), free=Estimate.of(free, "ms"))


def given(file: Path) -> list[Tool]:
    """From a request of the Messages API, or its `tools`."""
    value = json.loads(file.read_bytes())
    tools = value["tools"] if isinstance(value, dict) else value
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
