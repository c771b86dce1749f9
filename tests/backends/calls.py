"""Requests and calls as the proxy makes them, for the tests of the backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from anyclaude_lab.backends.base import Call, Reply
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.request import Request

CLIENT_HEADERS = (
    ("Host", "127.0.0.1:49152"),
    ("Accept", "application/json"),
    ("X-Stainless-Retry-Count", "0"),
    ("anthropic-beta", "claude-code-20250219,oauth-2025-04-20"),
    ("anthropic-version", "2023-06-01"),
    ("authorization", "Bearer sk-ant-oat01-login"),
    ("content-type", "application/json"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("X-Claude-Code-Session-Id", "00000000-0000-4000-8000-000000000001"),
    ("Connection", "keep-alive"),
    ("User-Agent", "claude-cli/2.1.330"),
)

BASH = {
    "name": "Bash",
    "description": "Run a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}


def make_request(text: str = "hello", *, tools: Sequence[dict[str, Any]] = (BASH,), **fields: Any) -> Request:
    body: dict[str, Any] = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 1000,
        "stream": True,
        "system": [{"type": "text", "text": "You are a coding assistant."}],
        "messages": [{"role": "user", "content": text}],
        "tools": list(tools),
    }
    return Request(body | fields)


def make_call(request: Request, **options: Any) -> Call:
    given: dict[str, Any] = {"path_qs": "/v1/messages?beta=true", "headers": CLIENT_HEADERS}
    given |= {"body": orjson.dumps(request.body), "lane": "lane"} | options
    return Call("req_1", original=request, **given)


async def read_events(reply: Reply) -> list[Event]:
    """Every event of a reply; what the body raises is raised after closing the decoder, which keeps its ending."""
    assert reply.decoder is not None
    events = []
    try:
        async for data in reply.body:
            events += reply.decoder.feed(data)
    finally:
        events += reply.decoder.close()
        await reply.close()
    return events
