"""A streamed chat completion as Anthropic events.

The stream is taken as it comes from a dozen servers that agree on little: see `openai_calls` for tool calls,
`openai_text` for reasoning and leaked tokens. What comes out follows the grammar strictly, and ends in one of three
ways: complete; cut, so that the client asks again (the default for every failure that asking again may mend); or an
error event, for failures that would only come again.

An open tool call is never closed by a failure: the client would run half of it. A finished call that fits its schema is
always delivered, for it is worth more than a retry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import orjson

from anyclaude_lab.errors import AnyclaudeError, BackendFailed, StreamCut
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, JsonObject, Usage, error, message_delta, message_start, message_stop
from anyclaude_lab.wire.openai_chunk import object_in, only_text, reasoning_in, typed_parts
from anyclaude_lab.wire.openai_dialect import Dialect
from anyclaude_lab.wire.openai_errors import error_in
from anyclaude_lab.wire.openai_reply import ReplyAssembler, ReplyContext, Reshape
from anyclaude_lab.wire.openai_text import SPECIAL_TOKENS, ReasoningSplitter
from anyclaude_lab.wire.openai_usage import count_in, progress_in, read_usage
from anyclaude_lab.wire.repeated import RepeatedFrame
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.sse import SseItem, SseParser
from anyclaude_lab.wire.tool_names import ToolNames
from anyclaude_lab.wire.tool_text import OfferedTools, ToolTextParserFactory

LOST_CALL = (
    "The model tried to call a tool, but the server could not read the call and dropped it. "
    "Ask it to go on, and it will try again."
)
MAX_JSON_BODY_BYTES = 64 * 1024 * 1024
_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
_CHARS_PER_TOKEN = 4


def reply_context(
    original: Request,
    *,
    message_id: str,
    names: ToolNames,
    prompt_tokens: int | None = None,
    parser: ToolTextParserFactory | None = None,
    special_tokens: tuple[str, ...] = SPECIAL_TOKENS,
    starts_in_reasoning: bool = False,
    shown: OfferedTools | None = None,
    reshapes: Mapping[str, Reshape] | None = None,
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
        shown=shown,
        reshapes=reshapes or {},
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
        self._repeated = RepeatedFrame("content")
        self._skimmed: list[tuple[str, bytes]] = []  # texts, and how they went on the wire
        self._alarm: re.Pattern[str] | None = None  # what a text that is skimmed must not hold; None: not known yet
        self._body: bytearray | None = None  # a body that is no stream
        self._sniffed = False
        self._started = False
        self._reply = ReplyAssembler(context)
        self._finish: str | None = None
        self._stop_sequence: str | None = None
        self._finished = False  # a finish_reason came

    @property
    def closed_unopened_reasoning(self) -> bool:
        """The reply closed a reasoning block it had not opened: pass `starts_in_reasoning` for this model next time."""
        return self._reply.splitter.closed_unopened

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
        self._alarm = None
        if not self._sniffed and (head := data.lstrip()):
            self._sniffed = True
            self._body = bytearray() if head[:1] in (b"{", b"<", b"[") else None
        if self._body is not None:
            self._body += data[: MAX_JSON_BODY_BYTES - len(self._body)]
            return []
        events: list[Event] = []
        at, size = 0, len(data)
        while at < size and self.ending is Ending.OPEN:
            if self._sse.between_frames() and (run := self._repeated.read(data, at)) is not None:
                self._reply.run(run)
                events += self._begun()
                at = run.end
                continue
            end = data.find(b"\n\n", at) + 2
            frame = data[at : end if end > 1 else size]
            at += len(frame)
            try:
                items = self._sse.feed(frame)
            except BackendFailed as failure:
                return events + self._fail(failure)
            events += self._read(items)
        return events

    def skim(self, data: bytes) -> bytes | None:
        """What a client is to be told of bytes that are nothing but more of the open text, in frames like the last one.

        None, unread, for all others: a text may be the rest of a call, which more than its reader has to know of.
        `skimmed` gives the events; it has to be asked before the next `feed` or `close`.
        """
        if (alarm := self._alarm) is None:
            if self._over or not self._sse.between_frames() or (alarm := self._reply.alarm()) is None:
                return None
            self._alarm = alarm
        texts: Sequence[str]
        insides: Sequence[bytes]
        if (one := self._repeated.alone(data)) is not None:
            text, inside = one
            texts, insides = (text,), (inside,)
        elif (run := self._repeated.all_of(data)) is not None:
            text, texts, insides = "".join(run.texts), run.texts, run.insides
        else:
            return None
        if alarm.search(text):
            return None
        if not text:
            return b""
        raw = self._reply.blocks.deltas(text, texts, insides)
        self._skimmed.append((text, raw))
        return raw

    def skimmed(self) -> list[Event]:
        """What was skimmed since the last time, as one event; none where that is nothing."""
        if not self._skimmed:
            return []
        texts, pieces = zip(*self._skimmed, strict=True)
        self._skimmed.clear()
        text, blocks = "".join(texts), self._reply.blocks
        self._reply.plain(text)  # as was found: it is noted
        blocks.told(text, b"".join(pieces))
        return blocks.take()

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
        where = "inside a tool call" if self._reply.waiting else "before its end"
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
            self._reply.splitter = ReasoningSplitter(starts_in_reasoning=True)  # all is there: no need to guess
        self._choice(choice, message)
        return self._begun() + self._complete()

    # --- reading

    def _read(self, items: list[SseItem]) -> list[Event]:
        events: list[Event] = []
        for item in items:
            if item.comment is not None:
                self.progress = progress_in(item.comment) or self.progress
            data = item.data
            if data and data[:1] != b"{" and data.strip() == b"[DONE]":
                events += self._done()
            elif data and (chunk := object_in(data)) is not None:
                events += self._chunk(chunk, item.raw)
            if self.ending is not Ending.OPEN:
                break
        return events

    def _chunk(self, chunk: JsonObject, raw: bytes) -> list[Event]:
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
        if len(choices) == 1 and (text := only_text(chunk)) is not None:
            self._repeated.learn(raw, text)
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
        content = delta.get("content")
        if len(delta) > 1 or content is None:  # a piece of text alone is the hot path
            self._reply.reasoning(reasoning_in(delta))
        if isinstance(content, str):
            self._reply.text(content)
        elif content:
            thoughts, text = typed_parts(content)
            self._reply.reasoning(thoughts)
            self._reply.text(text)
        if len(delta) > 1 or content is None:
            self._more(delta)
        if choice.get("finish_reason"):
            self._finished, self._finish = True, str(choice["finish_reason"])
            self._note_stop_sequence(choice)

    def _more(self, delta: JsonObject) -> None:
        """What a delta can bring besides content and reasoning."""
        if delta.get("refusal"):
            self._reply.text(str(delta["refusal"]))
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                self._reply.call_piece(call)
        if delta.get("function_call"):  # the field's older name, still in use
            self._reply.call_piece({"index": 0, "function": delta["function_call"]})

    def _note_stop_sequence(self, choice: JsonObject) -> None:
        # quirk(vLLM, SGLang): the sequence that matched is told as stop_reason or matched_stop; others tell nothing.
        for field in ("stop_reason", "matched_stop"):
            if choice.get(field) in self._context.stop_sequences:
                self._stop_sequence = choice[field]

    def _note_counts(self, chunk: JsonObject) -> None:
        self.usage, reported = read_usage(chunk, self.usage)
        self.reported |= reported
        if isinstance(seen := chunk.get("prompt_progress"), dict):
            self.progress = (count_in(seen.get("processed")) or 0, count_in(seen.get("total")) or 0)

    # --- endings

    def _begun(self) -> list[Event]:
        """The events made so far, behind `message_start`."""
        events = self._reply.blocks.take()
        return events if self._started or not events else self.start() + events

    def _done(self) -> list[Event]:
        """`[DONE]`: the server says that this is all."""
        self._reply.flush()
        if not self._finished and self._reply.empty:
            # quirk(vLLM): a failure before the first token can end in [DONE] alone (vllm-project/vllm#40986).
            return self._fail(BackendFailed(f"{self._dialect.label} ended its reply without a word."))
        return self._complete()

    def _complete(self) -> list[Event]:
        """The reply has ended as it should; what is still missing decides how ours ends."""
        reply = self._reply
        reply.flush()
        reply.settle(cut_short=self._finish == "length")
        if reply.in_call or reply.waiting:
            return self._fail(StreamCut(f"{self._dialect.label} ended its reply inside a tool call."))
        if self._finish in ("tool_calls", "function_call") and not reply.delivered:
            # quirk(mlx-lm): a call its parser cannot read is dropped, finish_reason is still tool_calls.
            reply.blocks.text(f"\n\n{LOST_CALL}" if reply.blocks.open == "text" else LOST_CALL)
        return self._ended(self._stop_reason())

    def _stop_reason(self) -> str:
        if self._finish in _STOP_REASONS:
            return _STOP_REASONS[self._finish]
        if self._reply.delivered:
            return "tool_use"  # quirk(Ollama and others): finish_reason is stop although tools were called
        return "stop_sequence" if self._stop_sequence is not None else "end_turn"

    def _ended(self, stop_reason: str) -> list[Event]:
        self._reply.blocks.close()
        self.ending = Ending.COMPLETE
        usage = self._counts().as_anthropic(cache_was_asked=self._context.cache_was_asked)
        sequence = self._stop_sequence if stop_reason == "stop_sequence" else None
        return self.start() + self._reply.blocks.take() + [message_delta(stop_reason, usage, sequence), message_stop()]

    def _counts(self) -> Usage:
        """What the client is told: the backend's counts, or our estimates where it was silent."""
        return Usage(
            prompt_tokens=self.usage.prompt_tokens or self._context.prompt_tokens,
            cached_tokens=self.usage.cached_tokens,
            output_tokens=self.usage.output_tokens or -(-self._reply.blocks.chars // _CHARS_PER_TOKEN),
        )

    def _fail(self, failure: AnyclaudeError) -> list[Event]:
        """The reply broke off: finish with the calls that are whole, or let the client ask again, or say why not."""
        events = self._begun()
        if not self._reply.in_call and self._reply.runnable():
            return events + self._ended("tool_use")
        self.failure = failure
        if failure.retryable:
            self.ending = Ending.CUT
            return events
        self.ending = Ending.ERROR
        return [*events, error(failure.body())]

    def _read_body(self, raw: bytes) -> list[Event]:
        """A body that was no stream of events."""
        body = object_in(raw)
        if body is None:
            return self._fail(BackendFailed(f"{self._dialect.label} answered with no stream: {_excerpt(raw)}"))
        return self.decode_completion(body)


def _excerpt(body: JsonObject | bytes) -> str:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return raw[:200].decode("utf-8", "replace")
