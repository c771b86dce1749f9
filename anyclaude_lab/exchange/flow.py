"""An exchange: one request, prepared, sent, read and timed.

    request -> prompt pipeline -> token count -> room for the answer -> backend.send -> decoder -> events

Reading is cancel-safe: a `next` that was cancelled may be called again, so an unfinished exchange can change hands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from anyclaude_lab.backends.base import Call, Reply
from anyclaude_lab.errors import AnyclaudeError, BackendFailed, BackendTimeout, PromptTooLong, StreamCut
from anyclaude_lab.exchange.count import upper_tokens
from anyclaude_lab.exchange.variant import Variant
from anyclaude_lab.prompt.fit import fit, is_compaction
from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.pipeline import Report, Step, reported, run
from anyclaude_lab.prompt.sections import CHARACTERS
from anyclaude_lab.render.count import Count
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, Usage, message_start
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder
from anyclaude_lab.wire.request import Request

LEAST_OUTPUT_TOKENS = (
    512  # an answer with less room than this is not worth its prefill: say that the prompt is too long
)
# What reading JSON of another shape raises.
ODD_SHAPE = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)


Skim = Callable[[bytes], bytes | None]


class Exchange:
    """One request on its way. Times are seconds since `started` (monotonic), None until they happened."""

    def __init__(
        self,
        variant: Variant,
        call: Call,
        sent: Request,
        steps: Sequence[Step],
        count: Count | None,
        lane: LaneState | None = None,
    ) -> None:
        self.lane = lane or LaneState()  # what its conversation had decided when it was sent
        self.variant, self.call, self.sent, self.steps, self.count = variant, call, sent, steps, count
        usage = Usage(prompt_tokens=count.tokens if count else None).as_anthropic()
        self.start = message_start(f"msg_{call.request_id}", call.original.model, usage | {"output_tokens": 1})
        self.started = time.monotonic()
        self.headers_s: float | None = None
        self.prefill_began_s: float | None = None  # the backend's first report of prefill, where it makes one
        self.first_content_s: float | None = None
        self.finished_s: float | None = None
        self.reply: Reply | None = None
        self.ending = Ending.OPEN
        self.failure: AnyclaudeError | None = None
        self.usage = Usage()
        self.stop_reason: str | None = None
        self.tool_names: list[str] = []
        self._skimmed: list[Event] = []  # and not told yet
        self.let_go = False  # the backend was told that nothing more is wanted
        self.untouched = True  # nothing of the reply was read yet; false from the first event, or the end

    @cached_property
    def reports(self) -> Sequence[Report]:
        """What each step of the prompt work did, in characters."""
        return reported(self.steps)

    async def open(self) -> None:
        """Send it; returns once the backend's headers are there. Raises `AnyclaudeError` on a refusal."""
        try:
            self.reply = await self.variant.backend.send(self.sent, self.call)
        except BackendTimeout:
            self.variant.lanes.answered(self.call.lane, Usage())  # a cache that was lost: have patience the next time
            raise
        self.headers_s = self._elapsed()

    @property
    def progress(self) -> tuple[int, int] | None:
        """Prefill tokens (done, total) while the backend reports them."""
        decoder = self.reply.decoder if self.reply else None
        return decoder.progress if decoder else None

    def hand_to(self, call: Call) -> None:
        """From now on it answers `call`, which asks the same."""
        if call.request_id == self.call.request_id:
            return
        self.call = replace(call, prompt_tokens=self.call.prompt_tokens)

    async def next(self) -> list[Event] | None:
        """The events of one read (maybe none), without `message_start`, which is `start`; None at the end."""
        if self.ending is not Ending.OPEN:
            return None
        reply = self.reply
        assert reply is not None and reply.decoder is not None, "open() comes first, and only a stream has events"
        readable = True
        try:
            try:
                data = await anext(reply.body)
            finally:
                self._gather()
            events = reply.decoder.feed(data)
        except StopAsyncIteration:
            events = reply.decoder.close()
        except AnyclaudeError as failure:
            self.failure = failure.unframed()
            events = reply.decoder.close()
        except ODD_SHAPE as error:
            # The decoder stopped halfway, so what it would say about the end cannot be trusted.
            found = f"{type(error).__name__}: {error}"
            self.failure = BackendFailed(f"{reply.backend} sent a piece of its stream in an unknown shape ({found}).")
            events, readable = [], False
        if self.first_content_s is None and self.prefill_began_s is None and reply.decoder.progress is not None:
            self.prefill_began_s = self._elapsed()
        self.ending = reply.decoder.ending if readable else Ending.CUT
        self.usage = reply.decoder.usage
        self.witness(events)  # before the end is timed: the first content may come with it
        if self.ending is not Ending.OPEN:
            self.finished_s = self._elapsed()
            self.failure = self.failure or reply.decoder.failure
            if self.ending is Ending.CUT and self.failure is None:
                self.failure = StreamCut("The backend's stream ended before its end.")
            model = None if self.call.background else reply.model  # a helper request may have gone to another one
            self.variant.counter.learn(self.count, self.usage.prompt_tokens, model)
            self.variant.lanes.answered(self.call.lane, self.usage)
            await self.close()
        if events and events[0].type == "message_start":
            events = events[1:]
        self.untouched = self.untouched and not events and self.ending is Ending.OPEN
        return events

    @property
    def skim(self) -> Skim | None:
        """Who reads a piece that arrives while `next` waits; None where `next` has to read every piece.

        It gives the bytes that go to the client where the piece is more of the text being read, None where `next` has
        to read it. `skimmed` has the events.
        """
        decoder = self.reply.decoder if self.reply else None
        return decoder.skim if isinstance(decoder, OpenAIStreamDecoder) and self.first_content_s is not None else None

    def skimmed(self) -> list[Event]:
        """The events of what was skimmed since the last time."""
        self._gather()
        events, self._skimmed = self._skimmed, []
        return events

    def _gather(self) -> None:
        """Take the events of what was skimmed out of the decoder, which is about to make others."""
        decoder = self.reply.decoder if self.reply else None
        if isinstance(decoder, OpenAIStreamDecoder):
            self._skimmed += decoder.skimmed()

    def witness(self, events: list[Event]) -> None:
        """Note what the events say about the reply: first content, tool names, stop reason."""
        for event in events:
            if event.type == "content_block_delta":
                if self.first_content_s is None:
                    self.first_content_s = self._elapsed()
            elif event.type == "content_block_start":
                block = _object(event.data.get("content_block"))
                if block.get("type") == "tool_use":
                    self.tool_names.append(str(block.get("name")))
                    self.first_content_s = self.first_content_s or self._elapsed()
            elif event.type == "message_delta":
                self.stop_reason = _object(event.data.get("delta")).get("stop_reason")

    async def close(self) -> None:
        """Let go of the backend at once; it stops working for us."""
        if self.reply is not None and not self.let_go:
            await self.reply.close()
        self.let_go = True
        if self.finished_s is None:
            self.finished_s = self._elapsed()

    def _elapsed(self) -> float:
        return time.monotonic() - self.started


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


async def prepare(variant: Variant, call: Call) -> Exchange:
    """Run the prompt work on `call.original`, count it and give the answer its room.

    Raises `PromptTooLong` where the window cannot hold prompt and answer.
    """
    window = await variant.window()
    known = variant.lanes.get(call.lane)
    sent, lane, steps = run(call.original, variant.plan, known, window_tokens=window)
    variant.lanes.keep(call.lane, lane)
    count = await variant.counter.count(sent, near_tokens=window)
    if window is not None and _overflows(sent, count, window):
        sent, count = await _trimmed(variant, call, sent, count, window)
    elif lane.trims:
        variant.lanes.keep(call.lane, replace(lane, trims=False))  # it has compacted, and may do so again
    sent = _fit_output(sent, count, window, variant.output_cap_tokens)
    decided = variant.lanes.get(call.lane)
    uncached = variant.lanes.uncached_tokens(call.lane, count.tokens)
    counted = replace(call, prompt_tokens=count.tokens, prompt_tokens_uncached=uncached)
    return Exchange(variant, counted, sent, steps, count, decided)


async def _trimmed(variant: Variant, call: Call, sent: Request, count: Count, window: int) -> tuple[Request, Count]:
    """The history cut to fit, where the client cannot compact: it is compacting, or was told once and did not.

    Raises `PromptTooLong`, the sentence that Claude Code compacts on, where it has not been told.
    """
    limit = window - _reserve(sent, window)
    lane = variant.lanes.get(call.lane) or LaneState()
    if not lane.trims and not is_compaction(call.original):
        variant.lanes.keep(call.lane, replace(lane, trims=True))
        raise PromptTooLong(upper_tokens(count), limit)
    shorter = fit(sent, CHARACTERS, limit)
    if shorter is sent:
        raise PromptTooLong(upper_tokens(count), limit)
    return shorter, await variant.counter.count(shorter, near_tokens=window)


def _overflows(request: Request, count: Count, window: int) -> bool:
    return upper_tokens(count) > window - _reserve(request, window)


def _reserve(request: Request, window: int) -> int:
    """Tokens kept free for the answer."""
    return min(LEAST_OUTPUT_TOKENS, window // 8, max(1, request.max_tokens))


def _fit_output(request: Request, count: Count, window: int | None, cap: int | None) -> Request:
    """Clamp `max_tokens` to what the window leaves."""
    room = request.max_tokens
    if window is not None:
        prompt = upper_tokens(count)
        if _overflows(request, count, window):
            raise PromptTooLong(prompt, window - _reserve(request, window))
        room = min(room, window - prompt)
    if cap is not None:
        room = min(room, cap)
    return request if room == request.max_tokens else request.with_(max_tokens=room)
