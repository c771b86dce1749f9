"""The engine's HTTP surface: OpenAI's chat completions on loopback, and what a proxy asks besides.

POST /v1/chat/completions    POST /tokenize (the count of the same body)
GET  /v1/models              GET  /health (503 while loading)              GET /metrics
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from anyclaude_lab.engine.serve.engine import Engine, Ready
from anyclaude_lab.engine.serve.job import Failure, Finish, Job, Progress, Text, Told
from anyclaude_lab.engine.serve.metrics import metrics
from anyclaude_lab.engine.serve.render import Rendered
from anyclaude_lab.engine.serve.reply import Deltas, Envelope, finish_reason
from anyclaude_lab.engine.serve.request import ChatRequest, parse_chat, parse_conversation
from anyclaude_lab.engine.serve.scheduler import Scheduler
from anyclaude_lab.errors import AnyclaudeError, BackendUnavailable, InvalidRequest
from anyclaude_lab.models.families import parser_for
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_text import ReasoningSplitter

MAX_BODY_BYTES = 64 * 1024 * 1024
LOADING_RETRY_S = 2
SERVER = "anyclaude-engine"


class Api:
    """The handlers. They wait; the generation thread works."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_errors_as_json])
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/tokenize", self.tokenize)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        asked = parse_chat(await _body(request), request.headers)
        ready = self._ready()
        rendered = await asyncio.to_thread(ready.renderer.render, asked)
        async with _answering(ready.scheduler, asked, rendered) as told:
            answer = _Answer(ready.loaded.name, asked, rendered, told)
            if asked.stream:
                return await answer.stream(request)
            return _json(await answer.whole())

    async def tokenize(self, request: web.Request) -> web.Response:
        conversation = parse_conversation(await _body(request))
        return _json({"count": await asyncio.to_thread(self._ready().renderer.count, conversation)})

    async def models(self, request: web.Request) -> web.Response:
        loaded = self._ready().loaded
        entry = {"id": loaded.name, "object": "model", "created": 0, "owned_by": SERVER}
        window = {} if loaded.window_tokens is None else {"context_length": loaded.window_tokens}
        return _json({"object": "list", "data": [entry | window]})

    async def health(self, request: web.Request) -> web.Response:
        ready = self._engine.ready is not None
        return _json({"status": "ok" if ready else "loading", "server": SERVER}, status=200 if ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        return _json(metrics(self._ready().scheduler))

    def _ready(self) -> Ready:
        """Raises BackendUnavailable while the model is loading."""
        if self._engine.ready is None:
            raise BackendUnavailable("The engine is loading its model", retry_after_s=LOADING_RETRY_S)
        return self._engine.ready


class _Answer:
    """One answer, streamed or whole, out of what the generation thread tells."""

    def __init__(self, model: str, asked: ChatRequest, rendered: Rendered, told: asyncio.Queue[Told]) -> None:
        self._asked, self._told = asked, told
        self._envelope = Envelope(model)
        splitter = ReasoningSplitter(starts_in_reasoning=rendered.prompt.opens_reasoning)
        self._deltas = Deltas(parser_for(model)(asked.offered), splitter)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        await self._send(response, self._envelope.chunk({"role": "assistant", "content": ""}))
        while True:
            told = await self._told.get()
            if isinstance(told, Progress):
                await response.write(b": keepalive %d/%d\n\n" % (told.done, told.total))
            elif isinstance(told, Text):
                for delta in self._deltas.feed(told.text):
                    await self._send(response, self._envelope.chunk(delta))
            elif isinstance(told, Failure):
                await self._send(response, _error(told.error))
                break
            else:
                await self._end(response, told)
                break
        await response.write_eof()
        return response

    async def whole(self) -> JsonObject:
        """Raises the error that ended it."""
        deltas: list[JsonObject] = []
        while True:
            told = await self._told.get()
            if isinstance(told, Text):
                deltas += self._deltas.feed(told.text)
            elif isinstance(told, Failure):
                raise told.error
            elif isinstance(told, Finish):
                deltas += self._deltas.close()
                return self._envelope.completion(deltas, finish_reason(told, self._deltas), told)

    async def _end(self, response: web.StreamResponse, finish: Finish) -> None:
        for delta in self._deltas.close():
            await self._send(response, self._envelope.chunk(delta))
        last = self._envelope.chunk({}, finish_reason(finish, self._deltas))
        if finish.stop is not None:
            last["choices"][0]["stop_reason"] = finish.stop
        await self._send(response, last)
        if self._asked.include_usage:
            await self._send(response, self._envelope.usage_chunk(finish))
        await response.write(b"data: [DONE]\n\n")

    async def _send(self, response: web.StreamResponse, chunk: JsonObject) -> None:
        await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")


@asynccontextmanager
async def _answering(
    scheduler: Scheduler, asked: ChatRequest, rendered: Rendered
) -> AsyncIterator[asyncio.Queue[Told]]:
    """Submit it; left early, by an error or a client that went away, it is cancelled."""
    told: asyncio.Queue[Told] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(event: Told) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(told.put_nowait, event)

    job = Job(
        rendered.prompt,
        rendered.max_tokens,
        tell,
        asked.sampling,
        asked.stops,
        rendered.banned,
        rendered.guide,
        asked.lane,
        asked.side,
    )
    scheduler.submit(job)
    try:
        yield told
    finally:
        job.cancelled = True  # nothing to a job that has ended


async def _body(request: web.Request) -> JsonObject:
    try:
        value = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object")
    return value


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except AnyclaudeError as error:
        status = 503 if isinstance(error, BackendUnavailable) else error.status
        return _json(_error(error), status=status, headers=error.headers())
    except web.HTTPException as error:
        return _json({"error": {"message": error.reason, "type": "invalid_request_error"}}, status=error.status)


def _error(error: AnyclaudeError) -> JsonObject:
    return {"error": {"message": error.message, "type": error.type, "code": error.status}}


def _json(value: JsonObject, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, headers=headers, content_type="application/json")
