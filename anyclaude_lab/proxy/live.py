"""The live feed behind the dashboard: what happens, as it happens, to whoever listens.

A listener that does not keep up loses the oldest news, never slows a request down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from anyclaude_lab.wire.events import JsonObject

HISTORY = 200
PENDING = 1000
REMEMBERED = ("finished", "failed", "searched")
END: JsonObject = {}


class LiveFeed:
    """News items are small JSON objects with a `kind`; keys and prompts never get in."""

    def __init__(self) -> None:
        self.recent: deque[JsonObject] = deque(maxlen=HISTORY)
        self._listeners: set[asyncio.Queue[JsonObject]] = set()

    @property
    def listeners(self) -> int:
        """How many are listening now."""
        return len(self._listeners)

    def publish(self, kind: str, **facts: object) -> None:
        """Tell everyone; requests that are over are also remembered for those who come later."""
        item: JsonObject = {"kind": kind, **facts}
        if kind in REMEMBERED:
            self.recent.append(item)
        for queue in self._listeners:
            _put(queue, item)

    def close(self) -> None:
        """The proxy stops: every listener comes to its end."""
        for queue in self._listeners:
            _put(queue, END)

    @contextmanager
    def _listening(self) -> Iterator[asyncio.Queue[JsonObject]]:
        queue: asyncio.Queue[JsonObject] = asyncio.Queue(PENDING)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    async def listen(self, idle_s: float) -> AsyncIterator[JsonObject | None]:
        """The remembered items, then news, until the feed is closed; None after `idle_s` of silence."""
        with self._listening() as queue:
            for item in list(self.recent):
                yield item
            while True:
                try:
                    item = await asyncio.wait_for(queue.get(), idle_s)
                except TimeoutError:
                    yield None
                    continue
                if item is END:
                    return
                yield item


def _put(queue: asyncio.Queue[JsonObject], item: JsonObject) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(item)
