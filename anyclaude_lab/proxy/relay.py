"""`claude` mode: every request goes to the API as it came, every byte comes back as it was sent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from anyclaude_lab.backends.base import Call, RawHeaders
from anyclaude_lab.errors import AnyclaudeError, InvalidRequest
from anyclaude_lab.exchange import Exchange
from anyclaude_lab.proxy.body_writer import GULP_PIECES, BodyWriter, Streamed
from anyclaude_lab.proxy.serving import CLIENT_LEFT, GIVEN, Serving, new_request_id, read_body
from anyclaude_lab.wire.anthropic import AnthropicDecoder
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.grammar import StreamGrammar
from anyclaude_lab.wire.headers import ClientHints, lane_key
from anyclaude_lab.wire.request import Request, parse_request

if TYPE_CHECKING:
    from anyclaude_lab.trace.record import Recording

NOT_MESSAGES = Request({"model": "", "messages": []})
NOT_ASKED_FOR = ("Date", "Server", "Content-Type")  # what aiohttp puts into every answer


class Relayed(Streamed):
    """An answer with the headers the API sent and no others; `keep_as_sent` has to be among the app's signals."""

    def __init__(self, status: int, headers: RawHeaders) -> None:
        super().__init__(status=status, headers=CIMultiDict(headers))
        self.sent = {name.lower() for name, _ in headers}


async def keep_as_sent(http: web.Request, response: web.StreamResponse) -> None:
    """Take out what the server framework added to a relayed answer."""
    if isinstance(response, Relayed):
        for name in NOT_ASKED_FOR:
            if name.lower() not in response.sent:
                response.headers.popall(name, None)


async def relay(http: web.Request, serving: Serving) -> web.StreamResponse:
    """Pass one request through, whatever its path. What we read of it is for the log alone."""
    request_id, recording = new_request_id(), serving.recording()
    try:
        body = await read_body(http)
        request = NOT_MESSAGES
        if http.path == "/v1/messages" and "content-encoding" not in http.headers:
            with contextlib.suppress(InvalidRequest):  # the API judges it, in its own words
                request = parse_request(body)
        hints = ClientHints.from_headers(http.headers, request.body)
        call = Call(
            request_id=request_id,
            lane=lane_key(hints, request),
            original=request,
            method=http.method,
            path_qs=http.path_qs,
            body=body,
            headers=serving.door.without_token([(_text(name), _text(value)) for name, value in http.raw_headers]),
        )
        exchange = Exchange(serving.variant, call, request, (), None)
        await exchange.open()
    except AnyclaudeError as failure:
        return serving.refused(request_id, failure)
    if request is not NOT_MESSAGES:
        serving.started(exchange, call, hints)
    return await _copy(http, serving, exchange, hints, recording if request is not NOT_MESSAGES else None)


async def _copy(
    http: web.Request, serving: Serving, exchange: Exchange, hints: ClientHints, recording: Recording | None
) -> web.StreamResponse:
    reply = exchange.reply
    assert reply is not None
    response = Relayed(reply.status, reply.headers)
    body = BodyWriter(response)
    witness = _Witness(serving, exchange, reply.decoder) if isinstance(reply.decoder, AnthropicDecoder) else None
    cut, status = False, reply.status

    def passed(data: bytes) -> None:
        if recording is not None:
            recording.wrote(data)
        if witness is not None:
            witness.saw(data)

    def take(data: bytes) -> bool:
        if not body.flowing():
            return False
        body.push(data)
        passed(data)
        return True

    try:
        await body.begin(http)
        try:
            reply.hand_to(take)
            async for data in reply.body:
                if not body.sent(data):
                    await body.write(data)
                passed(data)
        except AnyclaudeError as failure:
            exchange.failure, cut = failure, True
        exchange.ending = Ending.CUT if cut else Ending.COMPLETE
        if witness is not None:
            witness.close(cut=cut)
        if cut and http.transport is not None:
            http.transport.close()
        else:
            await response.write_eof()
        return response
    except (asyncio.CancelledError, ConnectionError):
        if witness is not None and witness.heard_the_end():
            http[GIVEN] = status  # nothing that may follow is of use to a client
        else:
            status = CLIENT_LEFT
            serving.metrics.disconnects.inc()
        raise
    finally:
        reply.hand_to(None)
        if witness is not None:
            witness.read()
        await exchange.close()
        serving.finished(exchange, hints, status=status, recording=recording)


class _Witness:
    """Reads a copy of what is passed on, for log and metrics. Once the answer has begun nobody waits for what it finds:
    it reads in gulps, since a piece alone costs more to look at than to pass on.
    """

    def __init__(self, serving: Serving, exchange: Exchange, decoder: AnthropicDecoder) -> None:
        self._serving, self._exchange, self._decoder = serving, exchange, decoder
        self._grammar = StreamGrammar(strict=False)
        self._unread: list[bytes] = []
        self._enough = 1  # pieces for a gulp
        self._skim = not serving.log.tells_events

    def saw(self, data: bytes) -> None:
        """Take the next piece, and read where it is time."""
        self._unread.append(data)
        if len(self._unread) >= self._enough:
            self.read()

    def read(self) -> None:
        """Read what is unread."""
        data = b"".join(self._unread)
        self._unread.clear()
        if data:
            self._judge(self._decoder.feed(data, skim=self._skim))

    def heard_the_end(self) -> bool:
        """Whether the message has come to its end, though perhaps its body has not; the exchange is told so."""
        self.read()
        if self._decoder.ending is Ending.OPEN:
            return False
        self.close(cut=False)
        return True

    def close(self, *, cut: bool) -> None:
        """The body has ended, or was `cut`: say so of the exchange."""
        self.read()
        self._judge(self._decoder.close())
        self._exchange.ending = Ending.CUT if cut else self._decoder.ending
        self._exchange.usage = self._decoder.usage
        if self._grammar.finish(self._exchange.ending):
            self._serving.metrics.grammar_violations.labels("relayed").inc()

    def _judge(self, events: list[Event]) -> None:
        serving, exchange = self._serving, self._exchange
        for event in events:
            complaint = self._grammar.check(event)
            if complaint:
                serving.metrics.grammar_violations.labels("relayed").inc()
                serving.log.violation(exchange.call.request_id, complaint)
        exchange.witness(events)
        if self._enough == 1 and exchange.first_content_s is not None:
            serving.live.reached(exchange.call.request_id, None, answering=True)
            self._enough = GULP_PIECES if self._skim else 1
        serving.log.events(exchange.call, events)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
