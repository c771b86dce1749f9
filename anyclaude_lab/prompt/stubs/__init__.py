"""Tools with one line of text each: a model that cannot cache for free should not read thirty pages before every task.

Names, types, enumerations, required parameters, bounds and references stay; what is shortened is prose. Claude Code's
own tools are described in our words, any other by its first sentence. Nothing is lost: where a call fails because its
arguments were wrong, the full definition is written out behind that result (`expand_failed`), and stands there in every
later request.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import orjson

from anyclaude_lab.prompt.stubs.expand import expand_failed
from anyclaude_lab.prompt.stubs.schema import shorter, stub_schema
from anyclaude_lab.prompt.stubs.shorten import TOOL_CHARS, listed
from anyclaude_lab.prompt.stubs.texts import TEXTS, ToolText
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_request import in_head
from anyclaude_lab.wire.request import Request

__all__ = ["WHOLE", "expand_failed", "originals", "restore", "stub_tool", "stub_tools"]

# What its texts say is not how to call it, but what the user wants to have.
WHOLE = frozenset({"StructuredOutput"})
_REMEMBERED_BYTES = 65_536


def stub_tools(request: Request, *, keep: frozenset[str] = frozenset()) -> Request:
    """The tools of the head with short texts, in their order; those named in `keep` as they are.

    A deferred definition stays whole: the model will have asked for it. The same object where nothing changes.
    """
    tools = [tool if not in_head(tool) or tool["name"] in keep | WHOLE else stub_tool(tool) for tool in request.tools]
    return request if tools == request.tools else request.with_(tools=tools)


def stub_tool(tool: JsonObject) -> JsonObject:
    """One definition with short texts; never longer than it was. The result may be shared: never edit it."""
    try:
        spelled = orjson.dumps(tool)
    except (TypeError, ValueError):  # half a surrogate pair, an endless structure: nothing that came over a wire
        return _stub_tool(tool)
    return _remembered(spelled) if len(spelled) <= _REMEMBERED_BYTES else _stub_tool(tool)


@lru_cache(maxsize=512)  # a conversation sends the same two dozen tools with every request
def _remembered(spelled: bytes) -> JsonObject:
    return _stub_tool(orjson.loads(spelled))


def _stub_tool(tool: JsonObject) -> JsonObject:
    row = _row(tool)
    stub = dict(tool)
    description = tool.get("description")
    if isinstance(description, str) and not (row and description.startswith(row.line)):
        stub["description"] = shorter(_line(row, description), description, TOOL_CHARS)
    if "input_schema" in tool:
        stub["input_schema"] = stub_schema(tool["input_schema"], row.parameters if row else {})
    return stub


def originals(request: Request) -> dict[str, JsonObject]:
    """The definitions by name, as they were before any of them was shortened."""
    return {tool["name"]: tool for tool in request.tools if isinstance(tool.get("name"), str)}


def restore(request: Request, definitions: Mapping[str, JsonObject]) -> Request:
    """The request with every tool as `originals` remembers it."""
    tools = [definitions.get(tool["name"], tool) if "name" in tool else tool for tool in request.tools]
    return request if tools == request.tools else request.with_(tools=tools)


def _line(row: ToolText | None, description: str) -> str | None:
    """Our text for a tool; None where we have none."""
    return None if row is None else row.line + (listed(description) if row.lists else "")


def _row(tool: JsonObject) -> ToolText | None:
    """What we know of the tool, if it is the one we know by this name: it requires nothing that we never heard of."""
    row, schema = TEXTS.get(tool["name"]), tool.get("input_schema")
    required = schema.get("required") if isinstance(schema, dict) else None
    if row is None or not row.parameters or not isinstance(required, list):
        return row
    return row if all(isinstance(name, str) and name in row.parameters for name in required) else None
