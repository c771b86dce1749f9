"""A scripted Messages API. Sources: docs.anthropic.com "Streaming messages", "Errors", "Rate limits", "Token counting";
the order and the shape of events and headers as the official `anthropic` SDK reads them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from .http import Exchange, HeaderList, JsonObject, Responder, StandIn
from .script import (
    Frame,
    Place,
    Policy,
    Refusal,
    Reply,
    Script,
    StreamError,
    Text,
    Thinking,
    ToolCall,
    Turn,
    pieces,
    play,
)

STOP_REASONS = {"end": "end_turn", "tool": "tool_use", "length": "max_tokens", "refusal": "refusal"}

# source: docs "Errors", HTTP errors
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicStandIn(StandIn):
    """The Messages API with scripted answers.

    `turns` answers `POST /v1/messages`, from a list or by a policy. `gzip` compresses streams for clients that
    accept it, `pings` sends a ping event after `message_start` as the real service does.
    """

    def __init__(
        self,
        turns: Sequence[Turn] | Policy = (),
        *,
        models: Sequence[str] = ("claude-opus-4-1", "claude-sonnet-4-5"),
        require_credential: bool = True,
        gzip: bool = False,
        pings: bool = True,
        port: int = 0,
        piece_bytes: int | None = None,
    ) -> None:
        super().__init__(port=port, piece_bytes=piece_bytes)
        self.script = Script(turns)
        self.models = models
        self.require_credential = require_credential
        self.gzip = gzip
        self.pings = pings
        self._ids = itertools.count(1)

    @property
    def messages(self) -> list[Exchange]:
        """The requests to `/v1/messages`, in order."""
        return self.posts("/v1/messages")

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        serial = next(self._ids)
        headers = _service_headers(serial)
        route = (exchange.method, exchange.path)
        if exchange.method == "HEAD":
            await responder.full(200 if exchange.path in ("/", "/api/hello") else 404, b"", headers)
        elif self.require_credential and not (exchange.header("x-api-key") or exchange.header("authorization")):
            await responder.full(401, error_body(401, "x-api-key header is required", serial), headers)
        elif route == ("POST", "/v1/messages"):
            await self._messages(exchange, responder, serial, headers)
        elif route == ("POST", "/v1/messages/count_tokens"):
            await responder.full(200, {"input_tokens": count_tokens(exchange.json)}, headers)
        elif route == ("GET", "/v1/models"):
            await responder.full(200, self._model_list(), headers)
        else:
            await responder.full(404, error_body(404, f"Not found: {exchange.path}", serial), headers)

    async def _messages(self, exchange: Exchange, responder: Responder, serial: int, headers: HeaderList) -> None:
        try:
            body = exchange.json
            turn = self.script.turn(body)
        except ValueError as error:
            await responder.full(400, error_body(400, f"The request body is not valid JSON: {error}", serial), headers)
            return
        if turn is None:
            self.violations.append("a request came after the last scripted turn")
            turn = Refusal(500, "the script has no more turns")
        if isinstance(turn, Refusal):
            await responder.pause(turn.after_s)
            data = turn.body if turn.body is not None else error_body(turn.status, turn.message, serial, turn.type)
            await responder.full(turn.status, data, [*headers, *turn.headers])
        elif body.get("stream"):
            gzip = self.gzip and "gzip" in (exchange.header("accept-encoding") or "")
            # source: docs "Rate limits", response headers
            limits = [
                ("anthropic-ratelimit-requests-limit", "4000"),
                ("anthropic-ratelimit-requests-remaining", "3999"),
            ]
            stream_type = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
            await responder.start(200, [*headers, *limits, *stream_type], gzip=gzip)
            await play(list(self.frames(body, turn, serial)), turn, responder, error_event)
        else:
            await responder.pause(turn.silence_s)
            await responder.full(200, self.message(body, turn, serial), headers)

    def message(self, body: JsonObject, turn: Reply, serial: int) -> JsonObject:
        """The whole answer as one object."""
        content = [_whole_block(part, serial, index) for index, part in enumerate(turn.parts)]
        message = _empty_message(body, turn, serial)
        message.update(content=content, stop_reason=STOP_REASONS[turn.stop_kind])
        message["usage"]["output_tokens"] = _output_tokens(turn)
        return message

    def frames(self, body: JsonObject, turn: Reply, serial: int) -> Iterator[Frame]:
        """The answer as a stream of events."""
        yield Frame(event({"type": "message_start", "message": _empty_message(body, turn, serial)}), "start")
        if self.pings:
            # source: docs "Streaming messages": streams may hold any number of pings
            yield Frame(event({"type": "ping"}), "start")
        for index, part in enumerate(turn.parts):
            place: Place = (
                "tool" if isinstance(part, ToolCall) else "thinking" if isinstance(part, Thinking) else "text"
            )
            block = _open_block(part, serial, index)
            yield Frame(event({"type": "content_block_start", "index": index, "content_block": block}), place)
            for delta in _deltas(part):
                yield Frame(event({"type": "content_block_delta", "index": index, "delta": delta}), place)
            yield Frame(event({"type": "content_block_stop", "index": index}), place)
        delta = {"stop_reason": STOP_REASONS[turn.stop_kind], "stop_sequence": None}
        usage = {**_input_usage(body, turn), "output_tokens": _output_tokens(turn)}
        yield Frame(event({"type": "message_delta", "delta": delta, "usage": usage}), "end")
        yield Frame(event({"type": "message_stop"}), "last")

    def _model_list(self) -> JsonObject:
        data = [
            {"type": "model", "id": m, "display_name": m, "created_at": "2025-08-05T00:00:00Z"} for m in self.models
        ]
        return {"data": data, "has_more": False, "first_id": self.models[0], "last_id": self.models[-1]}


def event(data: JsonObject) -> bytes:
    """One server-sent event of the Messages API, named after its type."""
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def error_event(error: StreamError) -> bytes:
    """source: docs "Streaming messages", error events."""
    return event({"type": "error", "error": {"type": error.type, "message": error.message}})


def error_body(status: int, message: str, serial: int, kind: str | None = None) -> JsonObject:
    """source: docs "Errors", error shapes."""
    error = {"type": kind or ERROR_TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": f"req_{serial:024d}"}


def count_tokens(body: JsonObject) -> int:
    """A stable count that grows with the prompt: one token per four characters."""
    prompt = {key: body[key] for key in ("system", "tools", "messages") if key in body}
    return max(1, len(json.dumps(prompt, ensure_ascii=False)) // 4)


def _service_headers(serial: int) -> list[tuple[str, str]]:
    # source: docs "Errors", request id; the unified limits stand in answers to Claude Code's logins
    return [
        ("request-id", f"req_{serial:024d}"),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        ("anthropic-ratelimit-unified-status", "allowed"),
    ]


def _input_usage(body: JsonObject, turn: Reply) -> JsonObject:
    prompt = count_tokens(body) if turn.prompt_tokens is None else turn.prompt_tokens
    cached = turn.cached_tokens or 0
    return {"input_tokens": prompt - cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}


def _output_tokens(turn: Reply) -> int:
    if turn.output_tokens is not None:
        return turn.output_tokens
    return sum(max(1, len(json.dumps(p.input) if isinstance(p, ToolCall) else p.text) // 4) for p in turn.parts)


def _empty_message(body: JsonObject, turn: Reply, serial: int) -> JsonObject:
    return {
        "id": f"msg_{serial:024d}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**_input_usage(body, turn), "output_tokens": 1, "service_tier": "standard"},
    }


def _tool_id(part: ToolCall, serial: int, index: int) -> str:
    return part.id or f"toolu_{serial:016d}{index:08d}"


def _open_block(part: Text | Thinking | ToolCall, serial: int, index: int) -> JsonObject:
    if isinstance(part, Text):
        return {"type": "text", "text": ""}
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "tool_use", "id": _tool_id(part, serial, index), "name": part.name, "input": {}}


def _whole_block(part: Text | Thinking | ToolCall, serial: int, index: int) -> JsonObject:
    block = _open_block(part, serial, index)
    if isinstance(part, Text):
        block["text"] = part.text
    elif isinstance(part, Thinking):
        block.update(thinking=part.text, signature="c2lnbmF0dXJl")
    else:
        block["input"] = part.input
    return block


def _deltas(part: Text | Thinking | ToolCall) -> Iterator[dict[str, Any]]:
    if isinstance(part, Text):
        for piece in pieces(part.text):
            yield {"type": "text_delta", "text": piece}
    elif isinstance(part, Thinking):
        for piece in pieces(part.text):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": "c2lnbmF0dXJl"}
    else:
        yield {"type": "input_json_delta", "partial_json": ""}
        text = json.dumps(part.input, ensure_ascii=False) if part.raw_arguments is None else part.raw_arguments
        for piece in pieces(text):
            yield {"type": "input_json_delta", "partial_json": piece}
