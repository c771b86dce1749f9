"""The full definition of a shortened tool, written out where the model got a call of it wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from anyclaude_lab.prompt.deferred import definition_json, full_text
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks

# Claude Code's own check of arguments, its word for what an MCP server refuses, and how servers and their SDKs say it.
_WRONG_ARGUMENTS = re.compile(
    r"InputValidationError|-32602|validation errors?\b|invalid (?:params|parameters|arguments)", re.IGNORECASE
)
_SCANNED_CHARS = 4000


def expand_failed(request: Request, original_tools: Sequence[JsonObject]) -> Request:
    """Behind the first result that says a call's arguments were wrong: the definition of that tool in full.

    Only for tools of the head whose texts in `request` are not those of `original_tools`. A function of the history and
    those definitions alone, so a later request has it in the same place. The same object where nothing changes.
    """
    failures = _first_failures(request)
    if not failures:
        return request
    shown, originals = _by_name(request.tools), _by_name(original_tools)
    messages = request.messages
    for name, (at, number) in failures.items():
        if name in shown and name in originals and _spelled(shown[name]) != _spelled(originals[name]):
            messages[at] = _behind_result(messages[at], number, full_text(name, originals[name]))
    return request if messages == request.messages else request.with_(messages=messages)


def _first_failures(request: Request) -> dict[str, tuple[int, int]]:
    """The first refused call of each tool: number of the message and of the block that holds its result."""
    called: dict[Any, Any] = {}  # id of a call -> the tool's name
    failures: dict[str, tuple[int, int]] = {}
    for at, message in enumerate(request.messages):
        content = message.get("content")
        for number, block in enumerate(content if isinstance(content, list) else ()):
            if block.get("type") == "tool_use":
                called[block.get("id")] = block.get("name")
            elif block.get("type") == "tool_result" and block.get("is_error") and _says_wrong_arguments(block):
                failures.setdefault(str(called.get(block.get("tool_use_id"))), (at, number))
    return failures


def _says_wrong_arguments(result: JsonObject) -> bool:
    texts = (part.get("text") for part in as_blocks(result.get("content")))
    return any(isinstance(text, str) and _WRONG_ARGUMENTS.search(text[:_SCANNED_CHARS]) for text in texts)


def _behind_result(message: JsonObject, number: int, text: str) -> JsonObject:
    """The message with `text` as the last part of that result, once."""
    content = list(message["content"])
    parts = as_blocks(content[number].get("content"))
    if parts[-1].get("text") != text:
        content[number] = {**content[number], "content": [*parts, {"type": "text", "text": text}]}
    return {**message, "content": content}


def _by_name(tools: Sequence[JsonObject]) -> dict[str, JsonObject]:
    return {tool["name"]: tool for tool in tools if isinstance(tool.get("name"), str)}


def _spelled(tool: JsonObject) -> str:
    return definition_json(tool["name"], tool)
