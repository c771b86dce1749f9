"""A backend on a model server that was started for the user: it may still load, and it may come back elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from anyclaude_lab.backends.base import Backend, Call, Reply
from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

WAIT_S = 45.0  # below the client's patience for a first byte, above the loading time of most models


class Running(Protocol):
    """A server that answers."""

    @property
    def url(self) -> str: ...


class ModelServer(Protocol):
    """Our hold on a model server. `running` raises `BackendUnavailable` while it loads, and when it failed."""

    async def running(self, timeout_s: float | None = None) -> Running: ...

    def status(self) -> JsonObject: ...


class StartedBackend:
    """Requests wait for the server a while, then are told to ask again. `connect` makes the backend for a URL."""

    translating = True

    def __init__(self, name: str, server: ModelServer, connect: Callable[[str], Backend]) -> None:
        self.name = name
        self._server, self._connect = server, connect
        self._url: str | None = None
        self._backend: Backend | None = None

    @property
    def loses_prefill_on_abort(self) -> bool:
        return self._backend.loses_prefill_on_abort if self._backend else True

    async def _up(self, wait_s: float) -> Backend:
        running = await self._server.running(wait_s)
        if self._backend is None or running.url != self._url:
            former, self._url = self._backend, running.url
            self._backend = self._connect(running.url)  # before anything else can come in between
            if former is not None:
                await former.close()
        return self._backend

    async def _up_now(self) -> Backend | None:
        try:
            return await self._up(0)
        except AnyclaudeError:
            return None

    async def send(self, request: Request, call: Call) -> Reply:
        return await (await self._up(WAIT_S)).send(request, call)

    async def count(self, request: Request) -> int | None:
        backend = await self._up_now()
        return await backend.count(request) if backend else None

    async def window_tokens(self) -> int | None:
        backend = await self._up_now()
        return await backend.window_tokens() if backend else None

    async def health(self) -> str | None:
        try:
            return await (await self._up(0)).health()
        except AnyclaudeError as failure:
            return failure.message

    def status(self) -> JsonObject:
        known = self._backend.status() if self._backend else {}
        return known | {"name": self.name, "server_process": self._server.status()}

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()
