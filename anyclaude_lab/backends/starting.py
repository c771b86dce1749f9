"""A backend whose server is still coming up: requests wait for it a while, then are told to ask again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from anyclaude_lab.backends.base import Backend, Call, Reply
from anyclaude_lab.errors import AnyclaudeError, BackendUnavailable
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

WAIT_S = 45.0  # below the client's patience for a first byte, above the loading of most models
ASK_AGAIN_S = 5

Running = TypeVar("Running")


class StartingBackend(Generic[Running]):
    """`server` is entered by `start` and left by `close`; `connect` makes the backend once it runs."""

    translating = True

    def __init__(
        self,
        name: str,
        server: AbstractAsyncContextManager[Running],
        connect: Callable[[Running], Backend],
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self.name = name
        self._server, self._connect, self._wait_s = server, connect, wait_s
        self._backend: Backend | None = None
        self._failure: AnyclaudeError | None = None
        self._settled = asyncio.Event()
        self._entered = False

    @property
    def loses_prefill_on_abort(self) -> bool:
        return self._backend.loses_prefill_on_abort if self._backend else True

    async def start(self) -> None:
        """Bring the server up. A failure is kept, and told to every request, as it is to the caller."""
        try:
            running = await self._server.__aenter__()
            self._entered = True
            self._backend = self._connect(running)
        except AnyclaudeError as failure:
            self._failure = failure
            raise
        finally:
            self._settled.set()

    async def _ready(self) -> Backend:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._settled.wait()
        except TimeoutError:
            raise BackendUnavailable(
                f"The model server {self.name} is still loading.", retry_after_s=ASK_AGAIN_S
            ) from None
        if self._backend is None:
            why = self._failure.message if self._failure else "it was ended while it started"
            raise BackendUnavailable(f"The model server {self.name} did not start: {why}", retry_after_s=ASK_AGAIN_S)
        return self._backend

    async def send(self, request: Request, call: Call) -> Reply:
        return await (await self._ready()).send(request, call)

    async def count(self, request: Request) -> int | None:
        return await self._backend.count(request) if self._backend else None

    async def window_tokens(self) -> int | None:
        return await self._backend.window_tokens() if self._backend else None

    async def health(self) -> str | None:
        if self._backend is not None:
            return await self._backend.health()
        return self._failure.message if self._failure else f"The model server {self.name} is still loading."

    def status(self) -> JsonObject:
        if self._backend is not None:
            return self._backend.status()
        return {"name": self.name, "url": None, "state": "failed" if self._failure else "starting"}

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()
        if self._entered:
            self._entered = False
            await self._server.__aexit__(None, None, None)
