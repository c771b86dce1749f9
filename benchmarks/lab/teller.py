"""Stands between the lab and a model server, and has the server tell which tokens it wrote.

`mlx_lm.server` names them (`logprobs`) only in an answer that is not streamed. Each request is asked that way, for the
same prompt and the same answer, and handed on as the stream that was asked for.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """One request: what was asked, what was answered, by which tokens, and the server's own counts.

    `tokens` is None where the server does not name them.
    """

    body: Body
    message: Body
    finish_reason: str
    tokens: list[int] | None
    prompt_tokens: int
    cached_tokens: int


@dataclass(slots=True)
class Teller:
    """`heard` grows by one for each answer, in the order `upstream` gave them."""

    upstream: str = ""
    url: str = ""
    heard: list[Told] = field(default_factory=list)
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(trust_env=False, timeout=600))

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        asked = {name: value for name, value in body.items() if name != "stream_options"}
        answer = await self.client.post(self.upstream + request.path, json=asked | {"stream": False, "logprobs": True})
        if answer.status_code != 200:
            return web.Response(body=answer.content, status=answer.status_code, content_type="application/json")
        whole = answer.json()
        choice, usage = whole["choices"][0], whole["usage"]
        named = (choice.get("logprobs") or {}).get("content")
        tokens = [token["id"] for token in named] if named else None
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        message, reason = choice["message"], choice["finish_reason"]
        self.heard.append(Told(body, message, reason, tokens, usage["prompt_tokens"], cached))
        delta = {name: value for name, value in message.items() if value}
        calls = [{"index": number} | call for number, call in enumerate(delta.pop("tool_calls", ()))]
        delta |= {"tool_calls": calls} if calls else {}
        chunk = {name: whole[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
        said = chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        events = [json.dumps(said), json.dumps(chunk | {"choices": [], "usage": usage}), "[DONE]"]
        return web.Response(text="".join(f"data: {event}\n\n" for event in events), content_type="text/event-stream")

    async def other(self, request: web.Request) -> web.Response:
        answer = await self.client.get(self.upstream + request.path)
        kind = answer.headers.get("content-type", "text/plain").partition(";")[0]
        return web.Response(body=answer.content, status=answer.status_code, content_type=kind)


@contextmanager
def telling() -> Iterator[Teller]:
    """It runs in a thread of its own; `upstream` may be changed while nobody asks."""
    loop, begun = asyncio.new_event_loop(), threading.Event()
    teller = Teller()
    app = web.Application(client_max_size=2**28)
    app.router.add_post("/v1/chat/completions", teller.chat)
    app.router.add_get("/{path:.*}", teller.other)
    runner = web.AppRunner(app)

    async def begin() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        begun.set()

    async def end() -> None:
        await runner.cleanup()
        await teller.client.aclose()

    def serve() -> None:
        loop.run_until_complete(begin())
        loop.run_forever()

    thread = threading.Thread(target=serve, name="teller", daemon=True)
    thread.start()
    begun.wait()
    try:
        teller.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield teller
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
