"""A request body of either dialect, read as one conversation, so that one policy can drive both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .http import JsonObject


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the history, with its result where one has come back."""

    id: str
    name: str
    input: JsonObject
    result: str | None


@dataclass(frozen=True, slots=True)
class Conversation:
    model: str
    tools: tuple[str, ...]
    """Names of the tools that the request defines."""
    calls: tuple[Call, ...]
    """Every call of the history, in order."""
    user_texts: tuple[str, ...]
    system_texts: tuple[str, ...]
    """The leading system text and every system message in between."""
    references: tuple[str, ...]
    """Tool names that `tool_reference` blocks made available (Messages dialect only)."""


def read(body: JsonObject) -> Conversation:
    """The conversation of a Messages or a chat-completions request."""
    return _read_messages(body) if _is_messages_dialect(body) else _read_chat(body)


def _is_messages_dialect(body: JsonObject) -> bool:
    """Chat completions wraps every tool in `function` and never has `system` beside `messages`."""
    if "system" in body:
        return True
    if tools := body.get("tools"):
        return "function" not in tools[0]
    blocks = [b for m in body.get("messages", ()) if isinstance(m.get("content"), list) for b in m["content"]]
    return any(b.get("type") in ("tool_use", "tool_result", "thinking") or "cache_control" in b for b in blocks)


def text_of(content: Any) -> str:
    """The plain text of a content field: a string, a list of text blocks, or nothing."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


def _blocks(message: JsonObject) -> Iterator[JsonObject]:
    content = message.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    else:
        yield from content or ()


def _read_messages(body: JsonObject) -> Conversation:
    calls: list[JsonObject] = []
    results: dict[str, str] = {}
    users: list[str] = []
    systems = [text_of(body.get("system"))]
    references: list[str] = []
    for message in body["messages"]:
        for block in _blocks(message):
            kind = block["type"]
            if kind == "tool_use":
                calls.append(block)
            elif kind == "tool_result":
                results[block["tool_use_id"]] = text_of(block.get("content"))
                inner = block.get("content")
                references += (
                    [b["tool_name"] for b in inner if b.get("type") == "tool_reference"]
                    if isinstance(inner, list)
                    else []
                )
            elif kind == "text":
                (systems if message["role"] == "system" else users if message["role"] == "user" else []).append(
                    block["text"]
                )
    return Conversation(
        model=body["model"],
        tools=tuple(tool["name"] for tool in body.get("tools", ())),
        calls=tuple(Call(c["id"], c["name"], c["input"], results.get(c["id"])) for c in calls),
        user_texts=tuple(users),
        system_texts=tuple(systems),
        references=tuple(references),
    )


def _read_chat(body: JsonObject) -> Conversation:
    messages = body["messages"]
    results = {m["tool_call_id"]: text_of(m.get("content")) for m in messages if m["role"] == "tool"}
    calls = [call for m in messages if m["role"] == "assistant" for call in m.get("tool_calls") or ()]
    return Conversation(
        model=body.get("model", ""),
        tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
        calls=tuple(
            Call(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"]), results.get(c["id"]))
            for c in calls
        ),
        user_texts=tuple(text_of(m.get("content")) for m in messages if m["role"] == "user"),
        system_texts=tuple(text_of(m.get("content")) for m in messages if m["role"] == "system"),
        references=(),
    )
