"""The client's side of one stream: commits to a status late, pings on silence, ends legally or is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from anyclaude_lab.exchange import Skim
from anyclaude_lab.proxy.body_writer import GULP_PIECES, BodyWriter, Streamed
from anyclaude_lab.proxy.metrics import Metrics
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, ping
from anyclaude_lab.wire.grammar import StreamGrammar

if TYPE_CHECKING:
    from anyclaude_lab.proxy.shared_answer import Reader
    from anyclaude_lab.trace.record import Recording

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class ClientStream:
    """Writes events to one client.

    Nothing is sent before the first event, so that a refusal can still become an HTTP status; after `commit_s` of
    waiting the stream is opened with `start` all the same, and from then on a ping goes out every `ping_s` of silence.
    """

    def __init__(
        self,
        http: web.Request,
        start: Event,
        metrics: Metrics,
        *,
        headers: dict[str, str],
        commit_s: float,
        ping_s: float,
        on_violation: Callable[[str], None],
        recording: Recording | None = None,
    ) -> None:
        self._http, self._start, self._metrics, self._ping_s = http, start, metrics, ping_s
        self._response = Streamed(headers=STREAM_HEADERS | headers)
        self._body = BodyWriter(self._response)
        self.committed = False  # whether the status line is out
        self._grammar = StreamGrammar()
        self._on_violation, self._recording = on_violation, recording
        self._reader: Reader | None = None  # that what is sent as it arrives is taken from
        self._skim: Skim | None = None
        self._unjudged = 0  # pieces that went out since the grammar was asked
        self._rest = b""  # the last events, which go out with the end of the body
        self._opening = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._next_sign = self._now() + commit_s
        self._alarm: asyncio.TimerHandle | None = self._loop.call_at(self._next_sign, self._look_at_the_clock)
        self._signing: asyncio.Task[None] | None = None  # a sign of life on its way

    async def write(self, events: list[Event], *, last: bool = False) -> None:
        """Send what one read of the backend brought, in one write; what is `last` with `end`, which then comes soon."""
        if self._rest:
            rest, self._rest = self._rest, b""
            await self._send_bytes(rest)
        if not events:
            return
        if not self.committed:
            events = [*await self._opened(), *events]
        if last:
            self._rest = self._judged(events)
        else:
            await self._send(events)

    def take_from(self, reader: Reader) -> None:
        """From now on send pieces as they arrive, where they are more text and the client reads."""
        self._reader, self._skim = reader, reader.skim
        reader.hand_to(self)

    def take(self, data: bytes) -> bool:
        """See `Reply.hand_to`. Nobody waits for what is found out about a piece, so that is done for some at a time."""
        if self._skim is None or not self._body.flowing() or (more := self._skim(data)) is None:
            return False
        if more:
            self._body.push(more)
            self._next_sign = self._now() + self._ping_s
            if self._recording is not None:
                self._recording.wrote(more)
            self._unjudged += 1
            if self._unjudged == GULP_PIECES and self._reader is not None:
                self._reader.settle()
        return True

    def took(self, events: list[Event]) -> None:
        """What it has sent as it arrived."""
        self._unjudged = 0
        self._judge(events)

    async def end(self, ending: Ending) -> web.StreamResponse:
        """Finish: a complete stream cleanly, a cut one by closing the connection: the client asks again."""
        self.release()
        complaint = self._grammar.finish(ending)
        if complaint:
            self._complain(complaint)
        rest, self._rest = self._rest, b""
        if self._recording is not None and rest:
            self._recording.wrote(rest)
        if ending is Ending.CUT:
            if rest:
                await self._body.write(rest)
            if self._http.transport is not None:
                self._http.transport.close()
        else:
            await self._response.write_eof(rest)
        return self._response

    def release(self) -> None:
        """Stop pinging, and taking what arrives; for every way out."""
        alarm, self._alarm = self._alarm, None  # they hold us: together we would wait for the collector
        signing, self._signing = self._signing, None
        if self._reader is not None:
            self._reader.hand_to(None)
            self._reader = self._skim = None  # as it would be with these
        if alarm is not None:
            alarm.cancel()
        if signing is not None:
            signing.cancel()

    async def _opened(self) -> list[Event]:
        """Commit to the stream, where nobody has; what has to be sent first."""
        async with self._opening:
            if self.committed:
                return []
            await self._body.begin(self._http)
            self.committed = True
            return [self._start]

    async def _send(self, events: list[Event]) -> None:
        await self._send_bytes(self._judged(events))

    async def _send_bytes(self, data: bytes) -> None:
        if not self._body.sent(data):
            await self._body.write(data)
        if self._recording is not None:
            self._recording.wrote(data)

    def _judged(self, events: list[Event]) -> bytes:
        """The bytes of events that go out now."""
        self._judge(events)
        self._next_sign = self._now() + self._ping_s
        return events[0].encode() if len(events) == 1 else b"".join([event.raw or event.encode() for event in events])

    def _judge(self, events: list[Event]) -> None:
        for event in events:
            complaint = self._grammar.check(event)
            if complaint:
                self._complain(complaint)

    def _complain(self, complaint: str) -> None:
        self._metrics.grammar_violations.labels("translated").inc()
        self._on_violation(complaint)

    def _look_at_the_clock(self) -> None:
        if self._alarm is None:
            return
        if self._now() < self._next_sign:
            self._alarm = self._loop.call_at(self._next_sign, self._look_at_the_clock)
        else:
            self._signing = self._loop.create_task(self._sign_of_life())

    async def _sign_of_life(self) -> None:
        try:
            if self.committed:
                self._metrics.pings.inc()
                await self._send([ping()])
            elif events := await self._opened():
                await self._send(events)
        except ConnectionError:
            return  # the client left; its handler is told by the server
        self._look_at_the_clock()
