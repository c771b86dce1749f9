"""A model server that was started for the user and comes back elsewhere."""

from __future__ import annotations

import asyncio
from typing import cast

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.backends.started import StartedBackend
from anyclaude_lab.wire.events import JsonObject


class Elsewhere:
    """A server at `url`."""

    url = "http://127.0.0.1:1"

    async def running(self, timeout_s: float | None = None) -> Elsewhere:
        return self

    def status(self) -> JsonObject:
        return {}


class Connected:
    """A backend that takes a moment to close."""

    def __init__(self) -> None:
        self.closed = 0

    async def health(self) -> str | None:
        return "closed" if self.closed else None

    async def close(self) -> None:
        await asyncio.sleep(0.01)
        self.closed += 1


async def test_requests_that_meet_a_moved_server_share_one_connection_to_it() -> None:
    server, made = Elsewhere(), dict[str, list[Connected]]()

    def connect(url: str) -> Backend:
        made.setdefault(url, []).append(Connected())
        return cast(Backend, made[url][-1])

    backend = StartedBackend("mine", server, connect)
    assert await backend.health() is None
    former, server.url = server.url, "http://127.0.0.1:2"
    assert await asyncio.gather(*(backend.health() for _ in range(3))) == [None] * 3
    await backend.close()
    assert [len(connected) for connected in made.values()] == [1, 1]
    assert [made[former][0].closed, made[server.url][0].closed] == [1, 1]
