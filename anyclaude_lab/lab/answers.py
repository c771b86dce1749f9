"""What an answer holds and when it came: text, calls, and times, from the bytes a client got. Pure.

`ttft_s` is the first generated content of any kind: text, reasoning, or a tool call's start. Most answers of an agent
are tool calls alone, and have no first text.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import orjson

from anyclaude_lab.wire.events import JsonObject

Pieces = Sequence[tuple[float | None, str]]


@dataclass(slots=True)
class Call:
    """One tool call. `input` is None where `arguments` are no JSON object; times are when it began and was whole."""

    id: str
    name: str
    arguments: str
    input: JsonObject | None
    started_s: float | None = None
    complete_s: float | None = None


@dataclass(slots=True)
class Answer:
    """One answer, read. Times are seconds since the request was sent; None where nobody knows or nothing came."""

    text: str = ""
    thinking: str = ""
    calls: list[Call] = field(default_factory=list)
    stop_reason: str | None = None
    error: str | None = None
    ttft_s: float | None = None
    ttft_visible_s: float | None = None
    last_s: float | None = None  # the last content
    content_events: int = 0

    @property
    def tt_tool_s(self) -> float | None:
        """The first call's start."""
        return self.calls[0].started_s if self.calls else None

    @property
    def tt_tool_complete_s(self) -> float | None:
        """The first call that is whole and can be read: when the client can act."""
        return next((call.complete_s for call in self.calls if call.input is not None), None)

    def blocks(self) -> list[JsonObject]:
        """The content as an assistant message of the Messages API holds it."""
        blocks: list[JsonObject] = [{"type": "text", "text": self.text}] if self.text else []
        return blocks + [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.input or {}} for c in self.calls]


def read_answer(pieces: Pieces) -> Answer:
    """The answer in the pieces of a body: an event stream or a whole message."""
    text = "".join(piece for _, piece in pieces)
    if text.startswith("{"):
        return _whole(text, pieces[-1][0] if pieces else None)
    reader = _Reader()
    for offset_s, event in timed_events(pieces, text):
        reader.take(offset_s, event)
    return reader.finished()


def timed_events(pieces: Pieces, text: str | None = None) -> Iterator[tuple[float | None, JsonObject]]:
    """(arrival of its last byte, the event's JSON) of every event of a stream."""
    text = "".join(piece for _, piece in pieces) if text is None else text
    ends = list(accumulate(len(piece) for _, piece in pieces))
    place = 0
    while (start := text.find("data:", place)) >= 0:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        place = end + 1
        if start and text[start - 1] != "\n":
            continue  # not at the start of a line
        try:
            event = orjson.loads(text[start + 5 : end])
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict):
            yield pieces[min(bisect_left(ends, end), len(pieces) - 1)][0], event


class _Reader:
    def __init__(self) -> None:
        self.answer = Answer()
        self._open: dict[Any, Call] = {}  # calls by the index of their block
        self._arguments: dict[Any, list[str]] = {}
        self._text: list[str] = []
        self._thinking: list[str] = []

    def take(self, offset_s: float | None, event: JsonObject) -> None:
        match event.get("type"):
            case "content_block_start":
                self._start(offset_s, event.get("index"), _object(event.get("content_block")))
            case "content_block_delta":
                self._delta(offset_s, event.get("index"), _object(event.get("delta")))
            case "content_block_stop":
                self._stop(offset_s, event.get("index"))
            case "message_delta":
                self.answer.stop_reason = _text(_object(event.get("delta")).get("stop_reason"))
            case "error":
                self.answer.error = str(_object(event.get("error")).get("message"))

    def finished(self) -> Answer:
        for index in list(self._open):
            self._stop(None, index)
        self.answer.text, self.answer.thinking = "".join(self._text), "".join(self._thinking)
        return self.answer

    def _content(self, offset_s: float | None) -> None:
        self.answer.content_events += 1
        self.answer.last_s = offset_s
        if self.answer.content_events == 1:
            self.answer.ttft_s = offset_s

    def _start(self, offset_s: float | None, index: Any, block: JsonObject) -> None:
        if block.get("type") == "tool_use":
            self._content(offset_s)
            call = Call(str(block.get("id")), str(block.get("name")), "", None, offset_s)
            self.answer.calls.append(call)
            self._open[index], self._arguments[index] = call, []
            if block.get("input"):
                self._arguments[index].append(json.dumps(block["input"]))

    def _delta(self, offset_s: float | None, index: Any, delta: JsonObject) -> None:
        kind = delta.get("type")
        if kind == "signature_delta":
            return
        self._content(offset_s)
        if kind == "input_json_delta" and index in self._arguments:
            self._arguments[index].append(str(delta.get("partial_json", "")))
        elif kind == "text_delta":
            if not self._text:
                self.answer.ttft_visible_s = offset_s
            self._text.append(str(delta.get("text", "")))
        elif kind == "thinking_delta":
            self._thinking.append(str(delta.get("thinking", "")))

    def _stop(self, offset_s: float | None, index: Any) -> None:
        call = self._open.pop(index, None)
        if call is not None:
            call.arguments = "".join(self._arguments.pop(index))
            call.input, call.complete_s = _arguments(call.arguments), offset_s


def _whole(text: str, at_s: float | None) -> Answer:
    """A body that came as one message, or as an error."""
    try:
        message = _object(orjson.loads(text))
    except orjson.JSONDecodeError:
        return Answer()
    answer = Answer(stop_reason=_text(message.get("stop_reason")))
    if message.get("type") == "error":
        answer.error = str(_object(message.get("error")).get("message"))
    content = message.get("content")
    for block in map(_object, content if isinstance(content, list) else []):
        match block.get("type"):
            case "text":
                answer.text += str(block.get("text") or "")
            case "tool_use":
                given, told = block.get("input"), orjson.dumps(block.get("input")).decode()
                read = given if isinstance(given, dict) else None
                answer.calls.append(Call(str(block.get("id")), str(block.get("name")), told, read))
    answer.ttft_s = answer.last_s = at_s if message.get("content") else None
    return answer


def _arguments(text: str) -> JsonObject | None:
    """The arguments as an object; no arguments at all are an empty one."""
    if not text.strip():
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}
