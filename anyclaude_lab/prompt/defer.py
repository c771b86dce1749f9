"""Tools deferred by us: named in the prompt, defined once the model asks for them with `ToolSearch`.

The mechanism is the client's own, and so is the answer: asked to select a tool that it never deferred, Claude Code
answers with a `tool_reference` all the same, which `place_deferred` turns into the definition. A client that does not
offer `ToolSearch` would answer that there is no such tool, so for such a client nothing is deferred.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from anyclaude_lab.prompt.deferred import definition_json
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_request import in_head
from anyclaude_lab.wire.request import Request, as_blocks

SEARCH = "ToolSearch"
MCP_PREFIX = "mcp__"
MOST_TOKENS = 2000  # of definitions from MCP servers in the head; more than that is read before every session
_NOTICE = f'More tools, by name only. Before calling one, load it with {SEARCH}, query "select:NAME":'


def choose_deferred(
    request: Request, count: Callable[[str], int], *, most_tokens: int = MOST_TOKENS
) -> tuple[str, ...]:
    """The names to defer for a whole conversation, judged by its first request: all MCP tools of the head, sorted.

    None while their definitions take no more than `most_tokens`, and none without `ToolSearch`. What the history holds
    does not matter, so a decision that was lost is made again.
    """
    found = [tool for tool in request.tools if in_head(tool) and tool["name"].startswith(MCP_PREFIX)]
    tokens = sum(count(definition_json(tool["name"], tool)) for tool in found) if _can_search(request) else 0
    return tuple(sorted(tool["name"] for tool in found)) if tokens > most_tokens else ()


def defer_tools(request: Request, *, names: Collection[str]) -> Request:
    """The tools of these names marked as deferred, and named at the front of the first user message.

    `names` must be the same for every request of a conversation: all of them are listed, whichever are still offered.
    The same object where nothing changes, or the client offers no `ToolSearch`.
    """
    if not _can_search(request) or not (names := set(names) - {SEARCH}):
        return request
    tools = [
        {**tool, "defer_loading": True} if in_head(tool) and tool["name"] in names else tool for tool in request.tools
    ]
    notice = {"type": "text", "text": "\n".join(["<system-reminder>", _NOTICE, *sorted(names), "</system-reminder>"])}
    messages = request.messages
    first = next((at for at, message in enumerate(messages) if message.get("role") == "user"), None)
    if first is not None:
        messages[first] = _with_notice(messages[first], notice)
    if tools == request.tools and messages == request.messages:
        return request
    return request.with_(tools=tools, messages=messages)


def _with_notice(message: JsonObject, notice: JsonObject) -> JsonObject:
    """In front of everything but tool results, which a user message must begin with; once."""
    blocks = as_blocks(message.get("content"))
    if notice in blocks:
        return message
    at = next((n for n, block in enumerate(blocks) if block.get("type") != "tool_result"), len(blocks))
    return {**message, "content": [*blocks[:at], notice, *blocks[at:]]}


def _can_search(request: Request) -> bool:
    return any(in_head(tool) and tool["name"] == SEARCH for tool in request.tools)
