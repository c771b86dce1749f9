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
from anyclaude_lab.proxy.body_writer import BodyWriter
from anyclaude_lab.proxy.serving import CLIENT_LEFT, Serving, new_request_id, read_body
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.grammar import StreamGrammar
from anyclaude_lab.wire.headers import ClientHints, lane_key
from anyclaude_lab.wire.request import Request, parse_request

if TYPE_CHECKING:
    from anyclaude_lab.trace.record import Recording

NOT_MESSAGES = Request({"model": "", "messages": []})
NOT_ASKED_FOR = ("Date", "Server", "Content-Type")  # what aiohttp puts into every answer


class Relayed(web.StreamResponse):
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
    witness = StreamGrammar(strict=False) if reply.decoder is not None else None
    cut, status = False, reply.status

    def passed(data: bytes) -> None:
        if recording is not None:
            recording.wrote(data)
        if witness is not None and reply.decoder is not None:
            _see(serving, exchange, witness, reply.decoder.feed(data))

    def take(data: bytes) -> bool:
        if not body.flowing:
            return False
        body.sent(data)
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
        if witness is not None and reply.decoder is not None:
            _see(serving, exchange, witness, reply.decoder.close())
            exchange.ending = Ending.CUT if cut else reply.decoder.ending
            exchange.usage = reply.decoder.usage
            if witness.finish(exchange.ending):
                serving.metrics.grammar_violations.labels("relayed").inc()
        else:
            exchange.ending = Ending.CUT if cut else Ending.COMPLETE
        if cut and http.transport is not None:
            http.transport.close()
        else:
            await response.write_eof()
        return response
    except (asyncio.CancelledError, ConnectionError):
        status = CLIENT_LEFT
        serving.metrics.disconnects.inc()
        raise
    finally:
        reply.hand_to(None)
        await exchange.close()
        serving.finished(exchange, hints, status=status, recording=recording)


def _see(serving: Serving, exchange: Exchange, witness: StreamGrammar, events: list[Event]) -> None:
    for event in events:
        complaint = witness.check(event)
        if complaint:
            serving.metrics.grammar_violations.labels("relayed").inc()
            serving.log.violation(exchange.call.request_id, complaint)
    answering = exchange.first_content_s is not None
    exchange.witness(events)
    if not answering:
        serving.live.reached(exchange.call.request_id, None, answering=exchange.first_content_s is not None)
    serving.log.events(exchange.call.request_id, events)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
