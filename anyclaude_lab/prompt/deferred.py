"""Deferred tools: their definitions belong where the conversation asked for them, not in the head.

Claude Code keeps rarely used tools out of the prompt: the model asks for one with `ToolSearch`, the tool result holds a
`tool_reference`, and from then on the definition comes with every request, marked `defer_loading`, in the middle of
`tools`. A backend that renders `tools` at the head would have to read the whole history again. So the definition is
written out where the reference stands (the tail of that request, and part of the history ever after).
"""

from __future__ import annotations

from collections.abc import Mapping

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_content import json_text
from anyclaude_lab.wire.request import Request, as_blocks, blocks_of
from anyclaude_lab.wire.same import each, once

PLACEHOLDER = "DeferredToolPlaceholder"
_LOADED = "can be called from now on:\n"
_IN_FULL = "in full:\n"


def place_deferred(request: Request) -> Request:
    """Deferred tools leave `tools`; each `tool_reference` in a tool result becomes the definition as text.

    The text depends on the definition alone, so a later request renders it to the same bytes. A deferred tool nobody
    referred to is not rendered; the client's placeholder never is.
    """
    tools: list[JsonObject] = request.body.get("tools") or []
    definitions, head = _named(tools)
    messages = [_place_in_message(message, definitions) for message in request.messages]
    if head is tools and messages == request.messages:
        return request
    return request.with_(tools=head or None, messages=messages)


@once
def _named(tools: list[JsonObject]) -> tuple[dict[str, JsonObject], list[JsonObject]]:
    """The definitions by name, and those of the head."""
    head = [tool for tool in tools if not tool.get("defer_loading") and tool.get("name") != PLACEHOLDER]
    definitions = {tool["name"]: tool for tool in tools if isinstance(tool.get("name"), str)}
    return definitions, tools if len(head) == len(tools) else head


@each
def loads_tools(message: JsonObject) -> bool:
    """Whether a tool result in it refers to a tool."""
    results = (block for block in as_blocks(message.get("content")) if block.get("type") == "tool_result")
    return any(part.get("type") == "tool_reference" for block in results for part in as_blocks(block.get("content")))


def definition_text(name: str, definition: JsonObject | None) -> str:
    """What the model reads in place of a reference: a sentence and the definition in the spelling of its head."""
    if definition is None:
        return f"The tool {name} is not available."
    return f"The tool {name} {_LOADED}{definition_json(name, definition)}"


def full_text(name: str, definition: JsonObject) -> str:
    """What the model reads of a tool whose texts in the head were shortened."""
    return f"The tool {name} {_IN_FULL}{definition_json(name, definition)}"


def definition_json(name: str, definition: JsonObject) -> str:
    """A tool as chat templates write it into a head."""
    function = {
        "name": name,
        "description": definition.get("description") or "",
        "parameters": definition.get("input_schema") or {"type": "object", "properties": {}},
    }
    return json_text({"type": "function", "function": function})


def defined_below(request: Request) -> set[str]:
    """Names of the tools that are defined in tool results rather than in the head."""
    parts = (part for block in blocks_of(request, "tool_result") for part in as_blocks(block.get("content")))
    texts = (part.get("text") for part in parts)
    return {text.split(" ", 3)[2] for text in texts if isinstance(text, str) and is_definition_text(text)}


def is_definition_text(text: str) -> bool:
    """Whether `definition_text` or `full_text` wrote it."""
    return text.startswith("The tool ") and any(words in text[:200] for words in (_LOADED, _IN_FULL))


def _place_in_message(message: JsonObject, definitions: Mapping[str, JsonObject]) -> JsonObject:
    if not loads_tools(message):
        return message
    return {**message, "content": [_place_in_result(block, definitions) for block in message["content"]]}


def _place_in_result(block: JsonObject, definitions: Mapping[str, JsonObject]) -> JsonObject:
    if block.get("type") != "tool_result" or not isinstance(block.get("content"), list):
        return block
    return {**block, "content": [_placed(part, definitions) for part in block["content"]]}


def _placed(part: JsonObject, definitions: Mapping[str, JsonObject]) -> JsonObject:
    if part.get("type") != "tool_reference":
        return part
    name = str(part.get("tool_name"))
    return {"type": "text", "text": definition_text(name, definitions.get(name))}
