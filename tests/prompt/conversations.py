"""Requests in the shapes Claude Code sends, with texts of our own."""

from __future__ import annotations

import copy
from typing import Any

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

BILLING = "x-anthropic-billing-header: cc_version=2.1.330.894; cc_entrypoint=cli; cch=0a1b2;"
MARK = {"type": "ephemeral", "ttl": "1h"}
NOTICE = "These tools can be searched for:\nNotebookEdit\nWebFetch\nWebSearch\n\nNothing else has changed."


def text(value: str, **more: Any) -> JsonObject:
    return {"type": "text", "text": value, **more}


def tool(name: str, **more: Any) -> JsonObject:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    return {"name": name, "description": f"{name} does what its name says.", "input_schema": schema, **more}


def placeholder() -> JsonObject:
    return tool("DeferredToolPlaceholder", defer_loading=True)


def web_fetch() -> JsonObject:
    schema = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
    return {"name": "WebFetch", "description": "Reads a page.", "input_schema": schema, "defer_loading": True}


def call(identifier: str, name: str, arguments: JsonObject) -> JsonObject:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": identifier, "name": name, "input": arguments}]}


def result(identifier: str, content: Any, **more: Any) -> JsonObject:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": identifier, "content": content, **more}]}


def session() -> list[Request]:
    """Five requests of one session as 2.1.330 sends them: the newest content is a marked block list, older content a
    plain string; after the second the definition of WebFetch turns up in the middle of `tools`."""
    tools = [tool("Bash"), tool("Read"), tool("ToolSearch"), placeholder(), tool("Write")]
    with_fetch = [tool("Bash"), tool("Read"), tool("ToolSearch"), web_fetch(), placeholder(), tool("Write")]
    turns: list[list[JsonObject]] = [
        [
            {"role": "user", "content": "Read the page."},
            {"role": "system", "content": NOTICE},
        ],
        [call("toolu_1", "Bash", {"path": "."}), result("toolu_1", "a.py\nb.py")],
        [
            call("toolu_2", "ToolSearch", {"path": "select:WebFetch"}),
            result("toolu_2", [{"type": "tool_reference", "tool_name": "WebFetch"}]),
        ],
        [call("toolu_3", "WebFetch", {"url": "http://localhost/"}), result("toolu_3", "")],
        [{"role": "assistant", "content": [text("It is empty.")]}, {"role": "user", "content": "Thank you."}],
    ]
    requests = []
    for number in range(1, len(turns) + 1):
        messages = copy.deepcopy([message for turn in turns[:number] for message in turn])
        _mark_newest(messages)
        system = [text(BILLING), text("You are a careful programmer.", cache_control=MARK), text("Be brief.")]
        body = {
            "model": "local/tiny",
            "max_tokens": 64,
            "system": system,
            "messages": messages,
            "tools": copy.deepcopy(with_fetch if number > 2 else tools),
        }
        requests.append(Request(body))
    return requests


def _mark_newest(messages: list[JsonObject]) -> None:
    newest = messages[-1]
    if isinstance(newest["content"], str):
        newest["content"] = [text(newest["content"])]
    newest["content"][-1]["cache_control"] = MARK
