"""A conversation of any length that looks like Claude Code's: tools, a system prompt, calls and their results."""

from __future__ import annotations

import random

import orjson

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, parse_request

WORDS = ["file", "line", "error", "test", "value", "return", "import", "branch", "names", "until", "module", "case"]


def request(turns: int, *, seed: int = 0) -> Request:
    """What the client asks after that many turns, read from its JSON: no object is shared with another request.

    The request after one turn more begins as this one does. Another seed is another conversation.
    """
    head = random.Random(seed)
    body = {
        "model": "claude-opus-4-5",
        "max_tokens": 4096,
        "stream": True,
        "system": [{"type": "text", "text": _text(head, 2000)}],
        "tools": [_tool(number, head) for number in range(20)],
        "messages": [message for turn in range(turns + 1) for message in _turn(turn, seed)][: 4 * turns + 1],
    }
    return parse_request(orjson.dumps(body))


def _text(chosen: random.Random, words: int) -> str:
    return " ".join(chosen.choices(WORDS, k=words)) + "."


def _tool(number: int, chosen: random.Random) -> JsonObject:
    properties = {"path": {"type": "string"}, "text": {"type": "string"}, "limit": {"type": "integer", "default": 9}}
    schema = {"type": "object", "properties": properties, "required": ["path"]}
    return {"name": f"Tool{number}", "description": _text(chosen, 150), "input_schema": schema}


def _turn(turn: int, seed: int) -> list[JsonObject]:
    chosen = random.Random(f"{seed}/{turn}")
    call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "Tool1", "input": {"path": f"/src/{turn}.py"}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": _text(chosen, 120)}
    return [
        {"role": "user", "content": [{"type": "text", "text": _text(chosen, 30)}]},
        {"role": "assistant", "content": [{"type": "text", "text": _text(chosen, 20)}, call]},
        {"role": "user", "content": [result]},
        {"role": "assistant", "content": [{"type": "text", "text": _text(chosen, 25)}]},
    ]
