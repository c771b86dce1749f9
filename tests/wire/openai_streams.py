"""Chat-completions streams for tests, and one way to decode them: in every cut, judged by the grammar.

Shapes are those of real servers; each test names the server where only that one writes so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from anyclaude_lab.wire.anthropic import AnthropicDecoder
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, JsonObject
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.grammar import StreamGrammar
from anyclaude_lab.wire.openai_dialect import GENERIC, Dialect
from anyclaude_lab.wire.openai_reply import ReplyContext
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder
from anyclaude_lab.wire.tool_names import ToolNames

TOOLS: dict[str, JsonObject] = {
    "Bash": {
        "type": "object",
        "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}},
        "required": ["command"],
        "additionalProperties": False,
    },
    "Read": {"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]},
    "TodoWrite": {
        "type": "object",
        "properties": {"todos": {"type": "array", "items": {"type": "object"}}, "note": {"type": "string"}},
        "required": ["todos"],
    },
    "ListAgents": {"type": "object", "properties": {}},
}
CONTEXT = ReplyContext(
    message_id="msg_test",
    model="claude-opus-5-5",
    names=ToolNames.for_tools(TOOLS),
    offered=TOOLS,
    prompt_tokens=1000,
    show_thinking=True,
)
DONE = b"data: [DONE]\n\n"


def chunk(finish: str | None = None, *, choice: JsonObject | None = None, **delta: Any) -> JsonObject:
    """One `chat.completion.chunk`."""
    one = {"index": 0, "delta": delta, "finish_reason": finish} | (choice or {})
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "qwen", "choices": [one]}


def usage_chunk(prompt: int = 100, output: int = 20, **more: Any) -> JsonObject:
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output} | more
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage}


def piece(
    arguments: Any = None, *, name: str | None = None, index: int | None = 0, id: str | None = None
) -> JsonObject:
    """A chunk with one entry of `tool_calls`; what is None is absent."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    entry = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return chunk(tool_calls=[entry | {"type": "function", "function": function}])


def sse(chunks: Iterable[JsonObject | bytes], *, done: bool = True) -> bytes:
    """The body: objects become `data:` frames, bytes stand as they are."""
    frames = [c if isinstance(c, bytes) else b"data: " + orjson.dumps(c) + b"\n\n" for c in chunks]
    return b"".join(frames) + (DONE if done else b"")


@dataclass(frozen=True)
class Decoded:
    """What came out, the same for every cut of the bytes."""

    events: list[Event]
    decoder: OpenAIStreamDecoder

    @property
    def message(self) -> JsonObject:
        return fold(self.events)

    @property
    def content(self) -> list[JsonObject]:
        return list(self.message["content"])

    @property
    def text(self) -> str:
        return "".join(b["text"] for b in self.content if b["type"] == "text")

    @property
    def thinking(self) -> str:
        return "".join(b["thinking"] for b in self.content if b["type"] == "thinking")

    @property
    def calls(self) -> list[tuple[str, Any]]:
        return [(b["name"], b["input"]) for b in self.content if b["type"] == "tool_use"]

    @property
    def ended(self) -> str | None:
        """The stop reason, or None where the stream did not end as a message does."""
        return self.message.get("stop_reason")

    @property
    def ending(self) -> Ending:
        return self.decoder.ending


def decode(
    body: bytes | Sequence[JsonObject | bytes],
    *,
    done: bool = True,
    dialect: Dialect = GENERIC,
    context: ReplyContext = CONTEXT,
    **changes: Any,
) -> Decoded:
    """Decode whole, byte by byte and in pieces of several sizes: same events each time, and every one legal."""
    raw = body if isinstance(body, bytes) else sse(body, done=done)
    context = replace(context, **changes)
    results = [_decode(pieces, dialect, context) for pieces in _cuts(raw)]
    first = results[0]
    for other in results[1:]:
        assert other.events == first.events
        assert other.ending is first.ending
    judge(first)
    return first


def judge(decoded: Decoded) -> None:
    """The grammar has no objection, and the bytes of an event say what its data says."""
    grammar = StreamGrammar()
    assert [fault for event in decoded.events if (fault := grammar.check(event))] == []
    assert grammar.finish(decoded.ending) is None
    for event in decoded.events:
        name, _, data = event.encode().partition(b"\ndata: ")
        assert name == b"event: " + event.type.encode()
        assert orjson.loads(data) == event.data


def read_back(events: list[Event]) -> list[Event]:
    """The events one by one, as a client reads them from their bytes."""
    reader = AnthropicDecoder()
    return reader.feed(b"".join(event.encode() for event in events)) + reader.close()


def _cuts(raw: bytes) -> list[list[bytes]]:
    return [[raw[at : at + size] for at in range(0, len(raw), size)] or [b""] for size in (len(raw) or 1, 1, 7, 64)]


def _decode(pieces: Iterable[bytes], dialect: Dialect, context: ReplyContext) -> Decoded:
    decoder = OpenAIStreamDecoder(context, dialect)
    events = [event for data in pieces for event in decoder.feed(data)] + decoder.close()
    assert decoder.feed(b"data: {}\n\n") == []
    assert decoder.close() == []
    return Decoded(read_back(events), decoder)
