"""`POST /v1/messages` where the request is translated: stream and non-stream, one path."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from anyclaude_lab.backends.base import Call
from anyclaude_lab.errors import AnyclaudeError, BackendFailed, StreamCut
from anyclaude_lab.exchange import Exchange, prepare
from anyclaude_lab.prompt.loops import loop_at_end
from anyclaude_lab.proxy.client_stream import ClientStream
from anyclaude_lab.proxy.retry_join import twin_key
from anyclaude_lab.proxy.serving import CLIENT_LEFT, Serving, new_request_id, read_body
from anyclaude_lab.proxy.shared_answer import Reader
from anyclaude_lab.proxy.web_search import answer_search
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.headers import ClientHints, is_background, lane_key
from anyclaude_lab.wire.request import Request, parse_request
from anyclaude_lab.wire.web_search import search_request

if TYPE_CHECKING:
    from anyclaude_lab.trace.record import Recording


@dataclass(slots=True)
class _Ask:
    """One request of one client, and how it went."""

    request_id: str
    request: Request
    hints: ClientHints
    lane: str
    recording: Recording | None
    came: float  # when, by the loop's clock
    told: bool = False  # whether the end was accounted for
    failure: AnyclaudeError | None = None
    cut: bool = False  # its connection was closed in mid-answer


async def messages(http: web.Request, serving: Serving) -> web.StreamResponse:
    """Answer one Messages request; every failure before the first byte becomes its HTTP status."""
    request_id = new_request_id()
    came = asyncio.get_running_loop().time()
    ask = None
    try:
        request = parse_request(await read_body(http))
        hints = ClientHints.from_headers(http.headers, request.body)
        ask = _Ask(request_id, request, hints, lane_key(hints, request), serving.recording(), came)
        return await _answer(http, serving, ask)
    except AnyclaudeError as failure:
        return serving.refused(request_id, failure.unframed(), told=ask is not None and ask.told)


async def _answer(http: web.Request, serving: Serving, ask: _Ask) -> web.StreamResponse:
    if (asked := search_request(ask.request)) is not None:
        return await answer_search(http, serving, ask.request, asked, ask.request_id)
    _notice_loop(serving, ask)
    call = Call(
        request_id=ask.request_id,
        lane=ask.lane,
        original=ask.request,
        path_qs=http.path_qs,
        headers=serving.door.without_token(list(http.headers.items())),
        background=is_background(ask.hints, ask.request),
    )
    reader = serving.joins.enter(
        twin_key(ask.lane, ask.request), ask.hints, ask.request, lambda: prepare(serving.variant, call)
    )
    try:
        exchange = await reader.prepared()
    except BaseException:
        if reader.leave():
            await asyncio.shield(serving.joins.release(reader.answer, hold=False))
        raise
    serving.started(exchange, call, ask.hints)
    status = 200
    try:
        if ask.request.stream:
            return await _stream(http, serving, ask, call, reader, exchange)
        return await _whole(serving, ask, call, reader, exchange)
    except (asyncio.CancelledError, ConnectionError):
        status = CLIENT_LEFT
        serving.metrics.disconnects.inc()
        raise
    except AnyclaudeError as failure:
        status, ask.failure = failure.status, failure
        raise
    except Exception as error:  # a defect of ours: the backend is let go all the same
        status, ask.failure = 500, BackendFailed(f"The proxy failed on this request ({type(error).__name__}).")
        raise
    finally:
        ask.told, last = True, reader.leave()
        try:
            told = _as_told(exchange, ask, call)
            serving.finished(told, ask.hints, status=status, recording=ask.recording, last=last)
        finally:
            if last and not serving.joins.forgotten(reader.answer):
                with suppress(asyncio.CancelledError):  # a client that leaves now has all of its answer
                    await asyncio.shield(serving.joins.release(reader.answer, hold=status == CLIENT_LEFT))


def _notice_loop(serving: Serving, ask: _Ask) -> None:
    """Count a model that makes the same call with the same result over and over, and say so."""
    loop = loop_at_end(ask.request)
    if loop is not None:
        serving.metrics.tool_loops.inc()
        said = f"{ask.request_id[:8]} the call of {loop.name[:100]} was made {loop.times} times with the same result"
        serving.log.note(said)
        serving.live.publish("loop", id=ask.request_id, tool=loop.name[:100], times=loop.times)


def _as_told(exchange: Exchange, ask: _Ask, call: Call) -> Exchange:
    """The exchange as this client saw it: another one may read the same answer under an id of its own."""
    own = exchange.call.request_id == call.request_id
    if own and exchange.finished_s is not None and ask.failure is None and not ask.cut:
        return exchange
    told = copy(exchange)
    told.hand_to(call)
    told.failure = ask.failure or told.failure
    told.finished_s = told.finished_s or time.monotonic() - exchange.started
    if ask.cut:
        told.ending = Ending.CUT
    return told


async def _stream(
    http: web.Request, serving: Serving, ask: _Ask, call: Call, reader: Reader, exchange: Exchange
) -> web.StreamResponse:
    stream = ClientStream(
        http,
        exchange.start,
        serving.metrics,
        headers={"request-id": f"req_{ask.request_id}"},
        commit_s=serving.commit_s - (asyncio.get_running_loop().time() - ask.came),
        ping_s=serving.ping_s,
        on_violation=lambda complaint: serving.log.violation(ask.request_id, complaint),
        recording=ask.recording,
    )
    try:
        await reader.opened()
        answering = False
        while (events := await reader.next()) is not None:
            if not stream.committed and exchange.ending in (Ending.CUT, Ending.ERROR):
                raise exchange.failure or StreamCut("The backend's stream ended before its first event.")
            await stream.write(events, last=exchange.ending is not Ending.OPEN)
            serving.log.events(call, events)
            if not answering:
                answering = exchange.first_content_s is not None
                serving.live.reached(ask.request_id, exchange.progress, answering=answering)
                if answering and not serving.log.tells_events:
                    stream.take_from(reader)
        return await stream.end(exchange.ending)
    except AnyclaudeError as failure:
        if not stream.committed:
            raise
        ask.failure, ask.cut = failure.unframed(), True  # the status is out: let the client ask again
        return await stream.end(Ending.CUT)
    finally:
        stream.release()


async def _whole(serving: Serving, ask: _Ask, call: Call, reader: Reader, exchange: Exchange) -> web.Response:
    await reader.opened()
    events = [exchange.start]
    while (batch := await reader.next()) is not None:
        events += batch
        serving.log.events(call, batch)
    if exchange.ending is not Ending.COMPLETE:
        raise exchange.failure or StreamCut("The backend's answer ended before its end.")
    answer = web.json_response(fold(events), headers={"request-id": f"req_{ask.request_id}"})
    if ask.recording is not None and answer.text is not None:
        ask.recording.wrote(answer.text.encode())
    return answer
