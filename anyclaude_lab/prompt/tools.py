"""Which tools a request offers, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, is_client_tool
from anyclaude_lab.wire.same import once

WEB_SEARCH = "WebSearch"


def allow_tools(request: Request, allowed: Sequence[str] | None) -> Request:
    """Only the tools whose names are in `allowed`, case ignored; None allows all, an empty list none."""
    if allowed is None:
        return request
    names = {name.casefold() for name in allowed}
    kept = [tool for tool in request.tools if str(tool.get("name")).casefold() in names]
    return request if len(kept) == len(request.tools) else _with_tools(request, kept)


def hide_web_search(request: Request) -> Request:
    """Without the client's `WebSearch` tool: nobody behind us can search.

    Newer clients only name it, on a line of its own, in a mid-conversation system message; that line goes too.
    """
    request = _with_tools(request, _without_search(request.body.get("tools") or []))
    messages = [_without_line(message) if message.get("role") == "system" else message for message in request.messages]
    return request if messages == request.messages else request.with_(messages=messages)


def order_tools(request: Request) -> Request:
    """Tools sorted by name, so that the order in which servers connected does not move the prompt."""
    return _with_tools(request, _ordered(request.body.get("tools") or []))


def _with_tools(request: Request, tools: list[JsonObject]) -> Request:
    return request if tools is (request.body.get("tools") or tools) else request.with_(tools=tools or None)


@once
def _without_search(tools: list[JsonObject]) -> list[JsonObject]:
    kept = [tool for tool in tools if not (is_client_tool(tool) and tool["name"] == WEB_SEARCH)]
    return tools if len(kept) == len(tools) else kept


@once
def _ordered(tools: list[JsonObject]) -> list[JsonObject]:
    ordered = sorted(tools, key=lambda tool: str(tool.get("name")))
    return tools if ordered == tools else ordered


def _without_line(message: JsonObject) -> JsonObject:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": _drop_line(content)}
    blocks = [
        {**block, "text": _drop_line(block["text"])} if isinstance(block.get("text"), str) else block
        for block in content or []
    ]
    return {**message, "content": blocks}


def _drop_line(text: str) -> str:
    if WEB_SEARCH not in text:
        return text
    return "\n".join(line for line in text.split("\n") if line.strip() != WEB_SEARCH)
