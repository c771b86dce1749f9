"""The one vocabulary: the events of an Anthropic Messages stream.

Nine names exist: `message_start content_block_start content_block_delta content_block_stop message_delta message_stop
ping error`, and whatever a later API adds, which is carried unchanged. An event that was read keeps its bytes (`raw`),
so that relaying it is lossless. Source: docs.anthropic.com/en/docs/build-with-claude/streaming.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

JsonObject = dict[str, Any]


@dataclass(slots=True)
class Event:
    """One server-sent event. `type` is its name, `data` its JSON object, `raw` the bytes it was read from (or None).

    Deltas of one text that came together may be one event: `data` is that of a delta with all of their text, `raw`
    holds the bytes of each.
    """

    type: str
    data: JsonObject
    raw: bytes | None = field(default=None, compare=False)

    def encode(self) -> bytes:
        """The event as it goes on the wire: its own bytes if it was read, else `event:` and `data:` lines."""
        if self.raw is not None:
            return self.raw
        return b"event: " + self.type.encode() + b"\ndata: " + orjson.dumps(self.data) + b"\n\n"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one exchange. None means the backend did not say.

    `prompt_tokens` is everything the model conditioned on, cached or not; `cached_tokens` the part read from a cache.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None

    def as_anthropic(self, *, cache_was_asked: bool = False) -> JsonObject:
        """Anthropic's four counters, which never overlap: input + cache creation + cache read = prompt.

        The remainder counts as cache creation only where the request marked something for caching. One token of any
        prompt is plain input: Claude Code keeps the estimate of `message_start` where the final `input_tokens` is 0,
        adds the cached ones to it, and compacts at half of the window.
        """
        prompt = self.prompt_tokens or 0
        cached = min(self.cached_tokens or 0, max(prompt - 1, 0))
        fresh = prompt - cached
        created = max(fresh - 1, 0) if cache_was_asked and self.cached_tokens is not None else 0
        return {
            "input_tokens": fresh - created,
            "cache_creation_input_tokens": created,
            "cache_read_input_tokens": cached,
            "output_tokens": self.output_tokens or 0,
        }


def message_start(message_id: str, model: str, usage: JsonObject) -> Event:
    """First event of every stream: an empty message."""
    message: JsonObject = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return Event("message_start", {"type": "message_start", "message": message})


def block_start(index: int, block: JsonObject) -> Event:
    """Opens content block `index`; a tool_use block starts with `input: {}`."""
    return Event("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})


def block_delta(index: int, delta: JsonObject) -> Event:
    """A piece of the open block: `text_delta`, `input_json_delta`, `thinking_delta` or `signature_delta`."""
    return Event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})


def text_delta(index: int, text: str) -> Event:
    """A piece of text."""
    return block_delta(index, {"type": "text_delta", "text": text})


def json_delta(index: int, partial_json: str) -> Event:
    """A piece of a tool call's arguments, as JSON text."""
    return block_delta(index, {"type": "input_json_delta", "partial_json": partial_json})


def thinking_delta(index: int, thinking: str) -> Event:
    """A piece of visible reasoning."""
    return block_delta(index, {"type": "thinking_delta", "thinking": thinking})


def block_stop(index: int) -> Event:
    """Closes the open block."""
    return Event("content_block_stop", {"type": "content_block_stop", "index": index})


def message_delta(stop_reason: str, usage: JsonObject, stop_sequence: str | None = None) -> Event:
    """Why the message ended, and the final token counts."""
    delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
    return Event("message_delta", {"type": "message_delta", "delta": delta, "usage": usage})


def message_stop() -> Event:
    """Last event of a complete stream."""
    return Event("message_stop", {"type": "message_stop"})


def ping() -> Event:
    """Keep-alive; legal anywhere after `message_start`."""
    return Event("ping", {"type": "ping"})


def error(body: JsonObject) -> Event:
    """Terminal error event; `body` is the error envelope."""
    return Event("error", body)
