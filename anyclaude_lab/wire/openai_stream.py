"""A streamed chat completion as Anthropic events.

The stream is taken as it comes from a dozen servers that agree on little: see `openai_calls` for tool calls,
`openai_text` for reasoning and leaked tokens. What comes out follows the grammar strictly, and ends in one of three
ways: complete; cut, so that the client asks again (the default for every failure that asking again may mend); or an
error event, for failures that would only come again.

An open tool call is never closed by a failure: the client would run half of it. A finished call that fits its schema is
always delivered, for it is worth more than a retry.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import orjson

from anyclaude_lab.errors import AnyclaudeError, BackendFailed, StreamCut
from anyclaude_lab.wire import json_text
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, JsonObject, Usage, error, message_delta, message_start, message_stop
from anyclaude_lab.wire.openai_blocks import BlockWriter
from anyclaude_lab.wire.openai_calls import Call, Calls, fits, repaired, structured_properties
from anyclaude_lab.wire.openai_dialect import Dialect
from anyclaude_lab.wire.openai_errors import error_in
from anyclaude_lab.wire.openai_text import SPECIAL_TOKENS, ReasoningSplitter, TokenFilter
from anyclaude_lab.wire.openai_usage import progress_in, read_usage
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.sse import SseItem, SseParser
from anyclaude_lab.wire.tool_names import ToolNames
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools, Piece, ToolTextParserFactory

LOST_CALL = (
    "The model tried to call a tool, but the server could not read the call and dropped it. "
    "Ask it to go on, and it will try again."
)
MAX_JSON_BODY_BYTES = 64 * 1024 * 1024
_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What the decoder of one reply must know of its request.

    `model` is the id the client asked for, echoed whatever answered; `offered` the schemas as the client sent them;
    `prompt_tokens` our estimate, shown until the backend reports. `starts_in_reasoning`: the chat template opens the
    reasoning block, so that the reply begins inside it (learned from `closed_unopened_reasoning` of an earlier reply).
    """

    message_id: str
    model: str
    names: ToolNames
    offered: OfferedTools
    prompt_tokens: int | None = None
    show_thinking: bool = False
    parser: ToolTextParserFactory | None = None
    stop_sequences: tuple[str, ...] = ()
    cache_was_asked: bool = False
    special_tokens: tuple[str, ...] = SPECIAL_TOKENS
    starts_in_reasoning: bool = False


def reply_context(
    original: Request,
    *,
    message_id: str,
    names: ToolNames,
    prompt_tokens: int | None = None,
    parser: ToolTextParserFactory | None = None,
    special_tokens: tuple[str, ...] = SPECIAL_TOKENS,
    starts_in_reasoning: bool = False,
) -> ReplyContext:
    """The context of the reply to `original`, the request before any transform."""
    thinking = original.body.get("thinking")
    omitted = isinstance(thinking, dict) and thinking.get("display") == "omitted"
    return ReplyContext(
        message_id=message_id,
        model=original.model,
        names=names,
        offered=original.offered_tools(),
        prompt_tokens=prompt_tokens,
        show_thinking=original.thinking_wanted and not omitted,
        parser=parser,
        stop_sequences=tuple(s for s in original.body.get("stop_sequences") or () if isinstance(s, str)),
        cache_was_asked=b'"cache_control"' in (original.raw or orjson.dumps(original.body)),
        special_tokens=special_tokens,
        starts_in_reasoning=starts_in_reasoning,
    )


class OpenAIStreamDecoder:
    """Implements `Decoder`. Also takes a body that is one JSON completion, or one JSON error, instead of a stream.

    Where a failure comes before the first event, `failure` is set and nothing or one error event was produced: a
    caller that has not answered yet can still answer with a proper status.
    """

    def __init__(self, context: ReplyContext, dialect: Dialect) -> None:
        self.ending = Ending.OPEN
        self.usage = Usage()
        self.failure: AnyclaudeError | None = None
        self.progress: tuple[int, int] | None = None
        self.reported: JsonObject = {}  # the backend's own counts and timings, as it spelled them
        self._context = context
        self._dialect = dialect
        self._sse = SseParser()
        self._body: bytearray | None = None  # a body that is no stream
        self._sniffed = False
        self._started = False
        self._blocks = BlockWriter(context.message_id)
        self._splitter = ReasoningSplitter(starts_in_reasoning=context.starts_in_reasoning)
        self._filter = TokenFilter(context.special_tokens)
        self._parser = context.parser(context.offered) if context.parser else None
        self._calls = Calls()
        self._waiting: deque[Call | tuple[bool, str]] = deque()  # behind the call that is still arriving
        self._finish: str | None = None
        self._stop_sequence: str | None = None
        self._finished = False  # a finish_reason came
        self._delivered_calls: list[tuple[str, str]] = []  # name and arguments of the calls the client has whole

    @property
    def closed_unopened_reasoning(self) -> bool:
        """The reply closed a reasoning block it had not opened: pass `starts_in_reasoning` for this model next time."""
        return self._splitter.closed_unopened

    @property
    def _over(self) -> bool:
        return self.ending is not Ending.OPEN

    def start(self) -> list[Event]:
        """`message_start` before the backend's first byte, for a client that must not wait for it; once only."""
        if self._started:
            return []
        self._started = True
        usage = Usage(prompt_tokens=self._context.prompt_tokens)
        return [message_start(self._context.message_id, self._context.model, usage.as_anthropic())]

    def feed(self, data: bytes) -> list[Event]:
        """See `Decoder`."""
        if self._over:
            return []  # whatever follows the end is noise
        if not self._sniffed and (head := data.lstrip()):
            self._sniffed = True
            self._body = bytearray() if head[:1] in (b"{", b"<", b"[") else None
        if self._body is not None:
            self._body += data[: MAX_JSON_BODY_BYTES - len(self._body)]
            return []
        try:
            items = self._sse.feed(data)
        except BackendFailed as failure:
            return self._fail(failure)
        return self._read(items)

    def close(self) -> list[Event]:
        """See `Decoder`."""
        if self._over:
            return []
        if self._body is not None:
            return self._read_body(bytes(self._body))
        events = self._read(self._sse.close())
        return events if self._over else events + self._end_of_body()

    def _end_of_body(self) -> list[Event]:
        if self._finished:
            return self._complete()
        where = "inside a tool call" if self._blocks.open == "tool_use" else "before its end"
        return self._fail(StreamCut(f"{self._dialect.label} ended its reply {where}, without a finish_reason."))

    def decode_completion(self, body: JsonObject) -> list[Event]:
        """All events of a completion that came as one JSON object."""
        if (failure := error_in(body, self._dialect)) is not None:
            return self._fail(failure)
        if not isinstance(body.get("choices"), list) or not body["choices"]:
            return self._fail(BackendFailed(f"{self._dialect.label} answered without choices: {_excerpt(body)}"))
        self._note_counts(body)
        choice = body["choices"][0]
        message = choice.get("message") or choice.get("delta") or {}
        text = message.get("content")
        if isinstance(text, str) and "</think>" in text and not text.lstrip().startswith("<think>"):
            self._splitter = ReasoningSplitter(starts_in_reasoning=True)  # all is there: no need to guess
        self._choice(choice, message)
        return self._begun() + self._complete()

    # --- reading

    def _read(self, items: list[SseItem]) -> list[Event]:
        events: list[Event] = []
        for item in items:
            if item.comment is not None:
                self.progress = progress_in(item.comment) or self.progress
            data = item.data
            if not data:
                continue
            if data.strip() == b"[DONE]":
                events += self._done()
            elif (chunk := _loads(data)) is not None:
                events += self._chunk(chunk)
            if self._over:
                break
        return events

    def _chunk(self, chunk: JsonObject) -> list[Event]:
        if chunk.get("error") or "error_message" in chunk:
            failure = error_in(chunk, self._dialect)
            if failure is not None:
                return self._complete() if self._finished else self._fail(failure)
        if "usage" in chunk or "timings" in chunk or "prompt_progress" in chunk or "x_groq" in chunk:
            self._note_counts(chunk)
        choices = chunk.get("choices")
        if not choices:
            # The usage chunk is the last one; a server that then keeps the connection open need not be waited for.
            return self._complete() if self._finished and chunk.get("usage") else []
        for choice in choices:
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue  # one answer was asked for; a second one is noise
            if choice.get("error") or choice.get("finish_reason") == "error":
                return self._fail(error_in(choice, self._dialect) or self._unnamed_failure(choice))
            self._choice(choice, choice.get("delta") or choice.get("message") or {})
        return self._begun()

    def _unnamed_failure(self, choice: JsonObject) -> AnyclaudeError:
        reason = choice.get("native_finish_reason") or "no reason given"
        return BackendFailed(f"{self._dialect.label} failed in the middle of its reply: {reason}.")

    def _choice(self, choice: JsonObject, delta: JsonObject) -> None:
        reasoning = _reasoning(delta)
        if reasoning:
            self._flush_text()
            self._put(True, reasoning)
        content = delta.get("content")
        if content:
            if not isinstance(content, str):
                thoughts, content = _typed_parts(content)
                self._put(True, thoughts)
            self._text(content)
        if delta.get("refusal"):
            self._text(str(delta["refusal"]))
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                self._tool_piece(call)
        if delta.get("function_call"):  # the field's older name, still in use
            self._tool_piece({"index": 0, "function": delta["function_call"]})
        if choice.get("finish_reason"):
            self._finished, self._finish = True, str(choice["finish_reason"])
            self._note_stop_sequence(choice)

    def _note_stop_sequence(self, choice: JsonObject) -> None:
        # quirk(vLLM, SGLang): the sequence that matched is told as stop_reason or matched_stop; others tell nothing.
        for field in ("stop_reason", "matched_stop"):
            if choice.get(field) in self._context.stop_sequences:
                self._stop_sequence = choice[field]

    def _note_counts(self, chunk: JsonObject) -> None:
        self.usage, reported = read_usage(chunk, self.usage)
        self.reported |= reported
        if isinstance(seen := chunk.get("prompt_progress"), dict):
            self.progress = (int(seen.get("processed") or 0), int(seen.get("total") or 0))

    # --- text and reasoning

    def _text(self, text: str) -> None:
        for is_reasoning, piece in self._splitter.feed(text):
            if is_reasoning:
                self._put(True, piece)
            elif self._parser is None:
                self._put(False, self._filter.feed(piece))
            else:
                self._pieces(self._parser.feed(piece))

    def _pieces(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, CallPiece):
                self._put(False, self._filter.close())
                self._whole_call(piece)
            else:
                self._put(False, self._filter.feed(piece.text))

    def _flush_text(self) -> None:
        """Something else than text comes next: what was held back is text after all."""
        for is_reasoning, piece in self._splitter.close():
            if is_reasoning or self._parser is None:
                self._put(is_reasoning, piece if is_reasoning else self._filter.feed(piece))
            else:
                self._pieces(self._parser.feed(piece))
        if self._parser is not None and self._context.parser is not None:
            self._pieces(self._parser.close())
            self._parser = self._context.parser(self._context.offered)
        self._put(False, self._filter.close())

    def _put(self, is_reasoning: bool, text: str) -> None:
        """Text for the client, behind whatever still waits for its turn."""
        if not text or (is_reasoning and not self._context.show_thinking):
            return
        if self._waiting:
            self._waiting.append((is_reasoning, text))
        elif is_reasoning:
            self._blocks.thinking(text)
        else:
            self._blocks.text(text)

    # --- tool calls

    def _tool_piece(self, delta: JsonObject) -> None:
        call, new = self._calls.of(delta)
        if new:
            self._flush_text()
            self._waiting.append(call)
        function = delta.get("function") or {}
        call.add_name(function.get("name") or "", self._context.names)
        call.add_arguments(function.get("arguments"))
        self._advance()

    def _whole_call(self, piece: CallPiece) -> None:
        call = Call(None)
        call.name = piece.name
        call.add_arguments(piece.arguments_json)
        self._waiting.append(call)
        self._advance()

    def _advance(self) -> None:
        """Send what can be sent: one call at a time, everything else behind it."""
        while self._waiting:
            head = self._waiting[0]
            if isinstance(head, tuple):
                (self._blocks.thinking if head[0] else self._blocks.text)(head[1])
            elif not self._send(head):
                return
            self._waiting.popleft()

    def _send(self, call: Call) -> bool:
        """Send what has arrived of a call; whether it is whole and sent."""
        if not call.name or not (call.pieces or call.whole):
            return False
        name = self._context.names.to_client(call.name)
        schema = self._context.offered.get(name, {})
        if not call.opened and (not call.plain or structured_properties(schema)):
            return call.whole and self._send_repaired(call, name, schema)
        if not call.opened:
            self._blocks.start_tool(name)
            call.opened = True
        if call.sent < len(call.pieces):
            self._blocks.arguments("".join(call.pieces[call.sent :]))
            call.sent = len(call.pieces)
        if not call.whole or not call.sound():
            return False  # still arriving, or no JSON although its braces are even: never closed as if it were
        self._delivered(name, call.arguments)
        return True

    def _send_repaired(self, call: Call, name: str, schema: JsonObject) -> bool:
        """A call whose arguments may need mending is sent once it is whole."""
        arguments = repaired(call.arguments, schema)
        if arguments is None:
            return False
        self._blocks.start_tool(name)
        self._blocks.arguments("" if arguments == "{}" else arguments)
        self._delivered(name, arguments)
        return True

    def _delivered(self, name: str, arguments: str) -> None:
        self._blocks.close()
        self._delivered_calls.append((name, arguments))

    # --- endings

    def _begun(self) -> list[Event]:
        """The events made so far, behind `message_start`."""
        events = self._blocks.take()
        return self.start() + events if events else []

    def _done(self) -> list[Event]:
        """`[DONE]`: the server says that this is all."""
        self._flush_text()
        if not self._finished and not self._blocks.count and not self._waiting:
            # quirk(vLLM): a failure before the first token can end in [DONE] alone (vllm-project/vllm#40986).
            return self._fail(BackendFailed(f"{self._dialect.label} ended its reply without a word."))
        return self._complete()

    def _complete(self) -> list[Event]:
        """The reply has ended as it should; what is still missing decides how ours ends."""
        self._flush_text()
        self._settle_calls(cut_short=self._finish == "length")
        if self._blocks.open == "tool_use" or (self._waiting and not self._delivered_calls):
            return self._fail(StreamCut(f"{self._dialect.label} ended its reply inside a tool call."))
        if self._finish in ("tool_calls", "function_call") and not self._delivered_calls:
            # quirk(mlx-lm): a call its parser cannot read is dropped, finish_reason is still tool_calls.
            self._blocks.text(f"\n\n{LOST_CALL}" if self._blocks.open == "text" else LOST_CALL)
        return self._ended(self._stop_reason())

    def _settle_calls(self, *, cut_short: bool) -> None:
        """Send the calls that were still waiting, up to the first that is only half there."""
        if not cut_short:
            for item in self._waiting:
                if isinstance(item, Call):
                    item.settle()
        self._advance()
        while cut_short and self._waiting:  # cut by max_tokens: the client is told so, and mends it
            half = self._waiting.popleft()
            if isinstance(half, Call) and half.name and not half.opened:
                self._blocks.start_tool(self._context.names.to_client(half.name))
                self._blocks.arguments(half.arguments)
            self._blocks.close()
            self._advance()

    def _stop_reason(self) -> str:
        if self._finish in _STOP_REASONS:
            return _STOP_REASONS[self._finish]
        if self._delivered_calls:
            return "tool_use"  # quirk(Ollama and others): finish_reason is stop although tools were called
        return "stop_sequence" if self._stop_sequence is not None else "end_turn"

    def _ended(self, stop_reason: str) -> list[Event]:
        self._blocks.close()
        self.ending = Ending.COMPLETE
        usage = self._counts().as_anthropic(cache_was_asked=self._context.cache_was_asked)
        sequence = self._stop_sequence if stop_reason == "stop_sequence" else None
        return self.start() + self._blocks.take() + [message_delta(stop_reason, usage, sequence), message_stop()]

    def _counts(self) -> Usage:
        """What the client is told: the backend's counts, or our estimates where it was silent."""
        return Usage(
            prompt_tokens=self.usage.prompt_tokens or self._context.prompt_tokens,
            cached_tokens=self.usage.cached_tokens,
            output_tokens=self.usage.output_tokens or -(-self._blocks.chars // _CHARS_PER_TOKEN),
        )

    def _fail(self, failure: AnyclaudeError) -> list[Event]:
        """The reply broke off: finish with the calls that are whole, or let the client ask again, or say why not."""
        events = self._begun()
        if self._blocks.open != "tool_use" and any(self._fits(*call) for call in self._delivered_calls):
            return events + self._ended("tool_use")
        self.failure = failure
        if failure.retryable:
            self.ending = Ending.CUT
            return events
        self.ending = Ending.ERROR
        return [*events, error(failure.body())]

    def _fits(self, name: str, arguments: str) -> bool:
        return name in self._context.offered and fits(arguments, self._context.offered[name])

    def _read_body(self, raw: bytes) -> list[Event]:
        """A body that was no stream of events."""
        body = _loads(raw)
        if body is None:
            return self._fail(BackendFailed(f"{self._dialect.label} answered with no stream: {_excerpt(raw)}"))
        return self.decode_completion(body)


def _loads(data: bytes) -> JsonObject | None:
    """The JSON object of one event; None for anything else, which is noise between events."""
    try:
        value = json_text.loads(data)
    except ValueError:
        return None
    if isinstance(value, list) and value:  # quirk(Gemini's endpoint): an error comes as a list of one
        value = value[0]
    return value if isinstance(value, dict) else None


def _reasoning(delta: JsonObject) -> str:
    """Reasoning under any of its names; servers that send two names send the same text twice."""
    for field in ("reasoning_content", "reasoning"):
        if isinstance(delta.get(field), str) and delta[field]:
            return str(delta[field])
    details = delta.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    return "".join(str(d.get("text") or d.get("summary") or "") for d in details if isinstance(d, dict))


def _typed_parts(content: Any) -> tuple[str, str]:
    """Reasoning and text of a content list. quirk(Mistral's API): `thinking` parts hold a list of text parts."""
    thoughts, texts = [], []
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, dict):
            texts.append(str(part))
        elif part.get("type") == "thinking":
            inner = part.get("thinking")
            thoughts.append(inner if isinstance(inner, str) else _typed_parts(inner or [])[1])
        else:
            texts.append(str(part.get("text") or ""))
    return "".join(thoughts), "".join(texts)


def _excerpt(body: JsonObject | bytes) -> str:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return raw[:200].decode("utf-8", "replace")
