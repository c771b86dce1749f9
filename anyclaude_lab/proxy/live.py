"""The live feed behind the dashboard: what happens, as it happens, to whoever listens.

A listener that does not keep up loses the oldest news, never slows a request down.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from anyclaude_lab.views.prefix import Outline, first_change, outline
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

HISTORY = 1000
PENDING = 2 * HISTORY
LANES = 128
REMEMBERED = ("finished", "failed", "searched")


class LiveFeed:
    """News items are small JSON objects with a `kind`; keys and prompts never get in."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex[:8]  # serials of another feed mean nothing here
        self.recent: deque[JsonObject] = deque(maxlen=HISTORY)
        self._over = 0
        self._running: dict[str, list[JsonObject]] = {}  # how it started, and how far it is
        self._outlines: OrderedDict[str, Outline] = OrderedDict()  # of the last prompt of each lane
        self._listeners: set[Listener] = set()

    @property
    def listeners(self) -> int:
        """How many are listening now."""
        return len(self._listeners)

    def publish(self, kind: str, **facts: object) -> None:
        """Tell everyone; requests that run or are over are also remembered for those who come later."""
        item: JsonObject = {"kind": kind, **facts}
        name = str(facts.get("id"))
        if kind in REMEMBERED:
            self._over += 1
            item["serial"] = self._over
            self.recent.append(item)
            self._running.pop(name, None)
        elif kind == "started":
            self._running[name] = [item]
        elif known := self._running.get(name):
            known[1:] = [item]
        for listener in self._listeners:
            listener.tell(item)

    def reached(self, request_id: str, progress: tuple[int, int] | None, *, answering: bool) -> None:
        """How far a request is, told where that is news. `progress`: prefill tokens done and in all."""
        known = self._running.get(request_id)
        if known is None or (not answering and progress is None) or known[-1]["kind"] == "answering":
            return
        item: JsonObject = {"kind": "answering", "id": request_id}
        if not answering and progress is not None:
            item = {"kind": "prefill", "id": request_id, "done": progress[0], "total": progress[1]}
        if known[-1] != item:
            self.publish(**item)

    def prefix_change(self, lane: str, sent: Request) -> str | None:
        """What of the last prompt of its lane this one does not continue; it is the last one from now on."""
        now, before = outline(sent), self._outlines.pop(lane, None)
        self._outlines[lane] = now
        if len(self._outlines) > LANES:
            self._outlines.popitem(last=False)
        return first_change(before, now) if before is not None else None

    def close(self) -> None:
        """The proxy stops: every listener comes to its end."""
        for listener in self._listeners:
            listener.end()

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """A listener that is told what is remembered, then the news."""
        listener = Listener([*self.recent, *(item for known in self._running.values() for item in known)])
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


class Listener:
    """One who listens. `lost` counts the news that came faster than they were taken."""

    def __init__(self, past: list[JsonObject]) -> None:
        self.lost = 0
        self._waiting = deque(past)
        self._ended = False
        self._changed = asyncio.Event()

    def tell(self, item: JsonObject) -> None:
        """Keep it until it is taken; the oldest goes where there are too many."""
        if len(self._waiting) >= PENDING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(item)
        self._changed.set()

    def end(self) -> None:
        """Nothing comes any more."""
        self._ended = True
        self._changed.set()

    async def news(self, idle_s: float) -> list[JsonObject] | None:
        """What there is, or comes within `idle_s` seconds, in order; None at the end."""
        if not self._waiting and not self._ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), idle_s)
        self._changed.clear()
        items = list(self._waiting)
        self._waiting.clear()
        return items or (None if self._ended else [])
