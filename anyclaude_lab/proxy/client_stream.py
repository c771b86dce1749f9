"""The client's side of one stream: commits to a status late, pings on silence, ends legally or is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from anyclaude_lab.exchange import Skim
from anyclaude_lab.proxy.body_writer import GULP_PIECES, BodyWriter
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
        self._response = web.StreamResponse(headers=STREAM_HEADERS | headers)
        self._body = BodyWriter(self._response)
        self.committed = False  # whether the status line is out
        self._grammar = StreamGrammar()
        self._on_violation, self._recording = on_violation, recording
        self._reader: Reader | None = None  # that what is sent as it arrives is taken from
        self._skim: Skim | None = None
        self._unjudged = 0  # pieces that went out since the grammar was asked
        self._opening = asyncio.Lock()
        self._now = asyncio.get_running_loop().time
        self._next_sign = self._now() + commit_s
        self._keeper: asyncio.Task[None] | None = asyncio.create_task(self._keep_alive())

    async def write(self, events: list[Event]) -> None:
        """Send what one read of the backend brought, in one write."""
        if not events:
            return
        if not self.committed:
            await self._commit()
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
        if ending is Ending.CUT:
            if self._http.transport is not None:
                self._http.transport.close()
        else:
            await self._response.write_eof()
        return self._response

    def release(self) -> None:
        """Stop pinging, and taking what arrives; for every way out."""
        keeper, self._keeper = self._keeper, None  # it holds us: together they would wait for the collector
        if self._reader is not None:
            self._reader.hand_to(None)
            self._reader = self._skim = None  # as it would be with these
        if keeper is not None:
            keeper.cancel()

    async def _commit(self) -> None:
        async with self._opening:
            if not self.committed:
                await self._body.begin(self._http)
                self.committed = True
                await self._send([self._start])

    async def _send(self, events: list[Event]) -> None:
        data = self._judged(events)
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

    async def _keep_alive(self) -> None:
        try:
            while True:
                wait_s = self._next_sign - self._now()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                elif not self.committed:
                    await self._commit()
                else:
                    self._metrics.pings.inc()
                    await self._send([ping()])
        except ConnectionError:
            return  # the client left; its handler is told by the server
