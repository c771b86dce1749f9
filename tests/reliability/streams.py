"""Answers of every kind of server, whole, cut and damaged, as hypothesis draws them; and what a client may see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from hypothesis import strategies as st

from tests.standins import grammar
from tests.standins.faulty import End, Framing, Play
from tests.standins.http import DEADLINE_S
from tests.standins.profiles import PROFILES, Request, Usage
from tests.standins.script import Part, Reply, Text, Thinking, ToolCall

TOOLS = [
    {
        "name": name,
        "description": "A tool.",
        "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    }
    for name in ("Read", "Bash")
]
ASK = {
    "model": "claude-test",
    "max_tokens": 4000,
    "stream": True,
    "tools": TOOLS,
    "messages": [{"role": "user", "content": "Hello"}],
}
GARBAGE = (
    b"\x00\xff\xfe",
    b"data: {\n\n",
    b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}]}\n\n',
    b'data: {"choices": [{"delta": {"content": null, "tool_calls": null}, "finish_reason": "tool_calls"}]}\n\n',
    b'data: {"choices": [{"index": 7, "delta": {"content": "x"}}]}\n\n',
    b'data: {"choices": {}}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": 1e400, "completion_tokens": -1}}\n\n',
    b'data: {"choices": [], "prompt_progress": {"processed": 1e400, "total": "x"}}\n\n',
    b'data: {"error": {"message": "out of memory", "code": 500}}\n\n',
    b'data: "text"\n\ndata: [1]\n\ndata: null\n\n',
    b"data: [DONE]\n\n",
    b"event: content_block_start\ndata: {}\n\n",
    b"<html>502 Bad Gateway</html>",
    b": comment\n",
    b"\r\r\n\n\r",
    b"data: \xf0\x9f\n\n",
    b"data: " + b"[" * 3000 + b"\n\n",
)

words = st.text(max_size=30)
calls = st.builds(ToolCall, st.sampled_from(("Read", "Bash", "Unknown")), st.fixed_dictionaries({"path": words}))
parts = st.one_of(words.map(Text), words.map(Thinking), calls)


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer of a server: its bytes, and the calls it makes."""

    data: bytes
    calls: tuple[ToolCall, ...]


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """What a well-behaved server of some kind says."""
    turn: tuple[Part, ...] = tuple(draw(st.lists(parts, min_size=1, max_size=4)))
    profile = PROFILES[draw(st.sampled_from(sorted(PROFILES)))]()
    asked = Request({"stream_options": {"include_usage": True}}, Reply(turn), Usage(100, 50, 20), 1)
    return Answer(
        b"".join(frame.data for frame in profile.frames(asked)), tuple(p for p in turn if isinstance(p, ToolCall))
    )


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer some of whose bytes are lost, doubled, changed or foreign."""
    data = draw(answers()).data
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 60)))
        foreign = draw(st.one_of(st.sampled_from(GARBAGE), st.binary(max_size=20), st.just(data[start:end])))
        data = data[: draw(st.sampled_from((start, end)))] + foreign + data[end:]
    return data


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> tuple[bytes | float, ...]:
    """The bytes in a few pieces, with short pauses."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    found: list[bytes | float] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        found.append(data[start:end])
        if draw(st.booleans()):
            found.append(draw(st.sampled_from((0.0, 0.001, 0.02))))
    return tuple(found)


ENDS: st.SearchStrategy[End] = st.sampled_from(("close", "close", "close", "reset", "stall"))
FRAMINGS: st.SearchStrategy[Framing] = st.sampled_from(("chunked", "length", "none"))


@st.composite
def plays(draw: st.DrawFn) -> Play:
    """Any answer over any connection."""
    return Play(
        draw(damaged().flatmap(pieces)),
        framing=draw(FRAMINGS),
        whole=draw(st.booleans()),
        end=draw(ENDS),
        length_off=draw(st.sampled_from((0, 0, 0, -7, 7))),
        broken_chunk=draw(st.none() | st.integers(0, 6)),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What one client got. `complete`: the body came to its proper end as HTTP."""

    status: int
    body: bytes
    complete: bool

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return grammar.events(self.body)

    def runnable(self) -> list[tuple[str, str]]:
        """Name and arguments of every call that a client would run: those whose block was closed."""
        found: list[tuple[str, str]] = []
        name, arguments = "", ""
        for kind, data in self.events:
            if kind == "content_block_start" and data["content_block"]["type"] == "tool_use":
                name, arguments = data["content_block"]["name"], ""
            elif kind == "content_block_delta" and data["delta"]["type"] == "input_json_delta":
                arguments += data["delta"]["partial_json"]
            elif kind == "content_block_stop" and name:
                found.append((name, arguments or "{}"))
                name = ""
        return found


async def ask(http: httpx.AsyncClient, deadline_s: float = DEADLINE_S, **changes: Any) -> Seen:
    """One request to its end. Raises TimeoutError: the client hangs."""
    got = bytearray()
    async with asyncio.timeout(deadline_s), http.stream("POST", "/v1/messages", json=ASK | changes) as answer:
        try:
            async for data in answer.aiter_raw():
                got += data
        except httpx.RemoteProtocolError:
            return Seen(answer.status_code, bytes(got), complete=False)
    return Seen(answer.status_code, bytes(got), complete=True)


def complaints(seen: Seen, *, stream: bool = True) -> list[str]:
    """What a client of the Messages API may not see, as sentences."""
    if seen.status != 200:
        return [] if _is_error(seen) else [f"status {seen.status} without the error envelope: {seen.body[:200]!r}"]
    if not stream:
        return [] if seen.complete and _is_message(seen) else [f"no message: {seen.body[:200]!r}"]
    wrong = grammar.violations(seen.body)
    ended = [kind for kind, _ in seen.events][-1:] in (["message_stop"], ["error"])
    if seen.complete and not ended:
        wrong.append("the body ended as if it were whole, without message_stop")
    if not seen.complete and ended:
        wrong.append("the connection was cut after message_stop")
    return wrong


def _is_error(seen: Seen) -> bool:
    try:
        body = json.loads(seen.body)
    except ValueError:
        return False
    return seen.complete and body.get("type") == "error" and {"type", "message"} <= body["error"].keys()


def _is_message(seen: Seen) -> bool:
    body = json.loads(seen.body)
    return body["type"] == "message" and isinstance(body["content"], list) and body["stop_reason"] is not None


def same_calls(got: Sequence[tuple[str, str]], made: Sequence[ToolCall]) -> bool:
    """Whether the runnable calls are the first of those that the server made, whole."""
    return [(name, json.loads(arguments)) for name, arguments in got] == [(c.name, c.input) for c in made[: len(got)]]
