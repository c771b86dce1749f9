"""The attribution block that Claude Code puts before its system prompt.

It is one text block, `x-anthropic-billing-header: cc_version=...; cc_entrypoint=...; ...;`, whose fields differ between
conversations and between main and subagents. In a rendered prompt it stands before everything else, so every new
conversation would miss a backend's prefix cache from its first tokens. The real API strips it; so do translating modes.
Passthrough must leave it alone.
"""

from __future__ import annotations

import re
from typing import Any

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.same import each, once, one_of

PREFIX = "x-anthropic-billing-header:"
_HEADER = re.compile(rf"\s*{PREFIX}([^\n]*)[\r\n]*")  # a whole line; its fields are looked at one by one


@each
def remove_billing(request: Request) -> Request:
    """The request without its attribution block, wherever in `system` it stands; the same object if there is none.

    A system message in mid-conversation is system text too. Only whole leading lines of the block's shape go: a text
    that quotes the header stays as it is, and so does whatever a user says.
    """
    changes: JsonObject = {}
    system = request.body.get("system")
    if (rest := _system_without(system)) is not system:
        changes["system"] = rest or None
    if any(message.get("role") == "system" for message in request.messages):
        messages = [_without_in_message(message) for message in request.messages]
        if messages != request.messages:
            changes["messages"] = [message for message in messages if message is not None]
    return request.with_(**changes) if changes else request


def _system_without(system: Any) -> Any:
    """The same object where there is nothing to take out."""
    if isinstance(system, list):
        return _blocks_without(system)
    rest = _without(system)
    return system if rest == system else rest


@once
def _blocks_without(blocks: list[JsonObject]) -> list[JsonObject]:
    rest: list[JsonObject] = _without(blocks)
    return blocks if rest == blocks else one_of(rest)


def _without_in_message(message: JsonObject) -> JsonObject | None:
    """A system message without the block; None when nothing else was in it."""
    content = message.get("content")
    if message.get("role") != "system" or (rest := _without(content)) == content:
        return message
    return {**message, "content": rest} if rest else None


def _without(content: Any) -> Any:
    """System text in either spelling without the block."""
    if isinstance(content, str):
        return _after_billing(content)
    if not isinstance(content, list):
        return content
    return [block for block in map(_without_billing, content) if block is not None]


def _without_billing(block: JsonObject) -> JsonObject | None:
    """The block without leading billing lines; None when nothing else was in it."""
    text = block.get("text")
    if not isinstance(text, str) or (rest := _after_billing(text)) == text:
        return block
    return {**block, "text": rest} if rest else None


def _after_billing(text: str) -> str:
    """What follows the leading billing lines and the blank lines around them; the text itself if there are none.

    A billing line is the header and nothing but `key=value;` fields, any number and any names.
    """
    at = 0
    while header := _HEADER.match(text, at):
        fields = header[1].split(";")
        if not all(_is_field(field.strip()) for field in fields if field.strip()):
            break
        at = header.end()
    return text[at:]


def _is_field(field: str) -> bool:
    key, equals, _ = field.partition("=")
    return bool(equals) and key.replace("_", "").replace("-", "").isalnum()
