"""`claude` mode: every request goes to the API as it came, every byte comes back as it was sent."""

from __future__ import annotations

import contextlib

from aiohttp import web

from anyclaude_lab.backends.base import Call
from anyclaude_lab.errors import AnyclaudeError, InvalidRequest
from anyclaude_lab.exchange import Exchange
from anyclaude_lab.proxy.serving import Serving, error_response, new_request_id, read_body
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.grammar import StreamGrammar
from anyclaude_lab.wire.headers import ClientHints, lane_key
from anyclaude_lab.wire.request import Request, parse_request

NOT_MESSAGES = Request({"model": "", "messages": []})


async def relay(http: web.Request, serving: Serving) -> web.StreamResponse:
    """Pass one request through, whatever its path. What we read of it is for the log alone."""
    request_id = new_request_id()
    try:
        body = await read_body(http)
        request = NOT_MESSAGES
        if http.path == "/v1/messages":
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
            headers=[(k.decode("latin-1"), v.decode("latin-1")) for k, v in http.raw_headers],
        )
        exchange = Exchange(serving.variant, call, request, (), None)
        await exchange.open()
    except AnyclaudeError as failure:
        serving.log.failure(request_id, failure)
        serving.live.publish("failed", id=request_id, status=failure.status, error=failure.message, hint=failure.hint)
        return error_response(failure, request_id)
    return await _copy(http, serving, exchange, hints)


async def _copy(http: web.Request, serving: Serving, exchange: Exchange, hints: ClientHints) -> web.StreamResponse:
    reply = exchange.reply
    assert reply is not None
    response = web.StreamResponse(status=reply.status)
    for name, value in reply.headers:
        response.headers.add(name, value)
    witness = StreamGrammar(strict=False) if reply.decoder is not None else None
    cut = False
    try:
        await response.prepare(http)
        try:
            async for data in reply.body:
                await response.write(data)
                if witness is not None and reply.decoder is not None:
                    _see(serving, exchange, witness, reply.decoder.feed(data))
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
    finally:
        await exchange.close()
        serving.finished(exchange, hints, status=reply.status)


def _see(serving: Serving, exchange: Exchange, witness: StreamGrammar, events: list[Event]) -> None:
    for event in events:
        complaint = witness.check(event)
        if complaint:
            serving.metrics.grammar_violations.labels("relayed").inc()
            serving.log.violation(exchange.call.request_id, complaint)
    exchange.witness(events)
