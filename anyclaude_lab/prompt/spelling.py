"""One spelling of one history.

Claude Code spells the same content as a block list with `cache_control` while it is the newest and as a plain string on
later requests, and moves `cache_control` from block to block. From 2.1.100 on it also sends a call back otherwise than
the model wrote it: `Edit` comes back with a `replace_all: false` in front. Rendered naively, that moves bytes in the
middle of the prompt. Here content is always a block list, `cache_control` is gone and a call's arguments stand in the
order of its schema, so that equal histories are equal bytes, and mostly those that the model itself wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from anyclaude_lab.prompt.deferred import loads_tools
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks
from anyclaude_lab.wire.same import each, once, one_message, one_of

_DEPTH = 64  # schemas nest a handful of levels; deeper ones stay as they are
_TOOL_KEYS = ("type", "name", "description", "input_schema")
# The keywords of a schema in one order; those not named follow by name.
_KEYWORDS = ("$ref", "type", "description", "enum", "const", "default", "properties", "required", "items")
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"default", "const", "enum", "examples", "required"})


@each
def spell_canonically(request: Request) -> Request:
    """`system`, message contents and tool results as block lists, `cache_control` nowhere; the same object if so."""
    spelled: JsonObject = {}
    if request.body.get("system") is not None:
        spelled["system"] = _spell_system(request.body["system"])
    if request.body.get("tools"):
        spelled["tools"] = _unmarked_tools(request.body["tools"])
    spelled["messages"] = [_spell_message(message) for message in request.messages]
    if "cache_control" in request.body:
        return request.with_(**spelled, cache_control=None)
    return (
        request if all(request.body.get(key) == value for key, value in spelled.items()) else request.with_(**spelled)
    )


def spell_calls(request: Request) -> Request:
    """Arguments of the calls in the history in the order of their tool's parameters, without optional ones that only
    repeat their default.

    A deferred tool counts from where it was loaded, so that a definition which turns up later changes no earlier call.
    """
    schemas, in_head = _parameters(request.body.get("tools") or [])
    known = dict(in_head)
    messages, changed = [], False
    for message in request.messages:
        spelled = _spell_turn(message, schemas, known)
        changed = changed or spelled is not message
        messages.append(spelled)
    return request.with_(messages=messages) if changed else request


def spell_tools(request: Request) -> Request:
    """Every definition with its keys and the keywords of its schema in one order; the order of parameters stays."""
    tools = request.body.get("tools") or []
    spelled = _spelled_tools(tools)
    return request if spelled is tools else request.with_(tools=spelled)


def drop_thinking(request: Request) -> Request:
    """Without the thinking of earlier turns.

    Some templates drop it by themselves as soon as the user speaks again, which moves everything behind it; without it
    all templates render one history to one text.
    """
    messages = [_without_thinking(message) for message in request.messages]
    if messages == request.messages:
        return request
    return request.with_(messages=[message for message in messages if message is not None])


@each
def _without_thinking(message: JsonObject) -> JsonObject | None:
    """None where it is all there was."""
    content = message.get("content")
    if message.get("role") != "assistant" or not isinstance(content, list):
        return message
    kept = [block for block in content if block.get("type") not in ("thinking", "redacted_thinking")]
    if len(kept) == len(content):
        return message
    return {**message, "content": kept} if kept else None


def _spell_system(system: Any) -> list[JsonObject]:
    blocks: list[JsonObject] = one_of(as_blocks(system)) if isinstance(system, str) else system
    return _unmarked_blocks(blocks) if isinstance(blocks, list) else []


@once
def _unmarked_blocks(blocks: list[JsonObject]) -> list[JsonObject]:
    return one_of(_spell_content(blocks)) if any("cache_control" in block for block in blocks) else blocks


@each
def _spell_message(message: JsonObject) -> JsonObject:
    spelled: JsonObject = one_message({**message, "content": _spell_content(message.get("content"))})
    return spelled


def _spell_content(content: Any) -> list[JsonObject]:
    return [_spell_block(block) for block in as_blocks(content)]


def _spell_block(block: JsonObject) -> JsonObject:
    block = _unmarked(block)
    if block.get("type") == "tool_result":
        block["content"] = _spell_content(block.get("content"))
    return block


def _unmarked(part: JsonObject) -> JsonObject:
    """A shallow copy without the marker; what lies deeper (a tool's schema, a call's input) is the user's own data."""
    return {key: value for key, value in part.items() if key != "cache_control"}


@once
def _unmarked_tools(tools: list[JsonObject]) -> list[JsonObject]:
    return [_unmarked(tool) for tool in tools] if any("cache_control" in tool for tool in tools) else tools


@once
def _spelled_tools(tools: list[JsonObject]) -> list[JsonObject]:
    spelled = [_spelled_tool(orjson.dumps(tool)) or tool for tool in tools]
    return tools if all(new is tool for new, tool in zip(spelled, tools, strict=True)) else spelled


@once
def _parameters(tools: list[JsonObject]) -> tuple[dict[str, JsonObject], dict[str, _Parameters]]:
    """By name, the definitions, and the parameters of those that stand in the head."""
    schemas = {tool["name"]: tool for tool in tools if isinstance(tool.get("name"), str)}
    return schemas, {name: _Parameters(tool) for name, tool in schemas.items() if not tool.get("defer_loading")}


class _Parameters:
    """The parameters of a tool: their order, and what the optional ones default to."""

    def __init__(self, tool: JsonObject) -> None:
        schema = tool.get("input_schema")
        schema = schema if isinstance(schema, dict) else {}
        properties = schema.get("properties")
        self._properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        self._required = required if isinstance(required, list) else []

    def spell(self, arguments: JsonObject) -> JsonObject:
        """In the schema's order, what it does not name behind; the same object if nothing changes."""
        names = [name for name in self._properties if name in arguments and not self._is_default(name, arguments[name])]
        names += [name for name in arguments if name not in self._properties]
        return arguments if names == list(arguments) else {name: arguments[name] for name in names}

    def _is_default(self, name: str, value: Any) -> bool:
        schema = self._properties[name]
        if name in self._required or not isinstance(schema, dict) or "default" not in schema:
            return False
        default = schema["default"]
        return type(value) is type(default) and bool(value == default)


def _spell_turn(message: JsonObject, schemas: Mapping[str, JsonObject], known: dict[str, _Parameters]) -> JsonObject:
    """The message; the tools that its results load are added to `known`."""
    if not _calls_or_loads(message):
        return message
    blocks, changed = [], False
    for block in as_blocks(message.get("content")):
        spelled = block
        kind, name = block.get("type"), block.get("name")
        if kind == "tool_use" and name in known and isinstance(block.get("input"), dict):
            arguments = known[name].spell(block["input"])
            spelled = block if arguments is block["input"] else {**block, "input": arguments}
        elif kind == "tool_result" and isinstance(block.get("content"), list):
            for part in block["content"]:
                loaded = part.get("tool_name")
                if part.get("type") == "tool_reference" and loaded in schemas:
                    known.setdefault(loaded, _Parameters(schemas[loaded]))
        changed = changed or spelled is not block
        blocks.append(spelled)
    return {**message, "content": blocks} if changed else message


@each
def _calls_or_loads(message: JsonObject) -> bool:
    content = message.get("content")
    calls = isinstance(content, list) and any(block.get("type") == "tool_use" for block in content)
    return calls or loads_tools(message)


@lru_cache(maxsize=1024)  # the same definitions come with every request of a session
def _spelled_tool(definition: bytes) -> JsonObject | None:
    """The definition in its one spelling; None if that is how it stands already."""
    spelled = _ordered(orjson.loads(definition), _TOOL_KEYS)
    if isinstance(spelled.get("input_schema"), dict):
        spelled["input_schema"] = _spell_schema(spelled["input_schema"], _DEPTH)
    return None if orjson.dumps(spelled) == definition else spelled


def _spell_schema(schema: Any, depth: int) -> Any:
    if isinstance(schema, list):
        return [_spell_schema(each, depth - 1) for each in schema] if depth else schema
    if not isinstance(schema, dict) or not depth:
        return schema
    ordered = _ordered(schema, _KEYWORDS)
    for keyword, value in ordered.items():
        if keyword in _BY_NAME and isinstance(value, dict):
            ordered[keyword] = {name: _spell_schema(inner, depth - 1) for name, inner in value.items()}
        elif keyword not in _VALUES and isinstance(value, dict | list):
            ordered[keyword] = _spell_schema(value, depth - 1)
    return ordered


def _ordered(part: JsonObject, first: tuple[str, ...]) -> JsonObject:
    names = [name for name in first if name in part]
    return {name: part[name] for name in (*names, *sorted(part.keys() - set(first)))}
