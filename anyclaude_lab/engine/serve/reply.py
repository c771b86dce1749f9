"""What the model writes, as chat-completions deltas: reasoning, text and tool calls told apart. PURE but for ids."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from anyclaude_lab.engine.serve.job import Finish
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_text import ReasoningSplitter
from anyclaude_lab.wire.tool_text import CallPiece, Piece, ToolTextParser


@dataclass(slots=True)
class Deltas:
    """Turns text into deltas. A call goes out whole once it is whole; one cut short comes out as the text it was."""

    parser: ToolTextParser
    splitter: ReasoningSplitter
    calls: int = 0

    def feed(self, text: str) -> list[JsonObject]:
        """The deltas that `text` settles."""
        return [delta for part in self.splitter.feed(text) for delta in self._part(*part)]

    def close(self) -> list[JsonObject]:
        """The rest."""
        rest = [delta for part in self.splitter.close() for delta in self._part(*part)]
        return rest + self._pieces(self.parser.close())

    def _part(self, reasoning: bool, text: str) -> list[JsonObject]:
        return [{"reasoning_content": text}] if reasoning else self._pieces(self.parser.feed(text))

    def _pieces(self, pieces: list[Piece]) -> list[JsonObject]:
        return [self._call(piece) if isinstance(piece, CallPiece) else {"content": piece.text} for piece in pieces]

    def _call(self, piece: CallPiece) -> JsonObject:
        call = {
            "index": self.calls,
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": piece.name, "arguments": piece.arguments_json},
        }
        self.calls += 1
        return {"tool_calls": [call]}


@dataclass(slots=True)
class Envelope:
    """What stands around the deltas of one answer."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def chunk(self, delta: JsonObject, finish_reason: str | None = None) -> JsonObject:
        return self._around("chat.completion.chunk", {"delta": delta, "finish_reason": finish_reason})

    def usage_chunk(self, finish: Finish) -> JsonObject:
        return self._around("chat.completion.chunk") | {"usage": usage(finish)}

    def completion(self, deltas: list[JsonObject], finish_reason: str, finish: Finish) -> JsonObject:
        """The whole answer as one object."""
        message: JsonObject = {"role": "assistant", "content": _joined(deltas, "content")}
        if reasoning := _joined(deltas, "reasoning_content"):
            message["reasoning_content"] = reasoning
        if calls := [call for delta in deltas for call in delta.get("tool_calls", ())]:
            message["tool_calls"] = calls
        whole = self._around("chat.completion", {"message": message, "finish_reason": finish_reason})
        return whole | {"usage": usage(finish)}

    def _around(self, kind: str, choice: JsonObject | None = None) -> JsonObject:
        choices = [] if choice is None else [{"index": 0} | choice]
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def usage(finish: Finish) -> JsonObject:
    return {
        "prompt_tokens": finish.prompt_tokens,
        "completion_tokens": finish.output_tokens,
        "total_tokens": finish.prompt_tokens + finish.output_tokens,
        "prompt_tokens_details": {"cached_tokens": finish.cached_tokens},
    }


def finish_reason(finish: Finish, deltas: Deltas) -> str:
    """`tool_calls` where one went out, whatever ended the answer but its length."""
    return "tool_calls" if deltas.calls and finish.reason != "length" else finish.reason


def _joined(deltas: list[JsonObject], field_name: str) -> str:
    return "".join(str(delta[field_name]) for delta in deltas if field_name in delta)
