"""One spelling of one history.

Claude Code spells the same content as a block list with `cache_control` while it is the newest and as a plain string on
later requests, and moves `cache_control` from block to block. Rendered naively, that moves bytes in the middle of the
prompt. Here content is always a block list and `cache_control` is gone, so that equal histories are equal bytes.
"""

from __future__ import annotations

from typing import Any

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks


def spell_canonically(request: Request) -> Request:
    """`system`, message contents and tool results as block lists, `cache_control` nowhere; the same object if so."""
    spelled: JsonObject = {}
    if request.body.get("system") is not None:
        spelled["system"] = _spell_content(request.body["system"])
    if request.body.get("tools"):
        spelled["tools"] = [_unmarked(tool) for tool in request.tools]
    spelled["messages"] = [
        {**message, "content": _spell_content(message.get("content"))} for message in request.messages
    ]
    if "cache_control" in request.body:
        return request.with_(**spelled, cache_control=None)
    return (
        request if all(request.body.get(key) == value for key, value in spelled.items()) else request.with_(**spelled)
    )


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
