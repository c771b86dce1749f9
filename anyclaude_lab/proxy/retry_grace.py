"""A prefill whose client left runs on for a moment: the client's retry, the same request again, takes it over.

A backend that throws its computed prompt away when the connection closes would otherwise start a 20-second prefill
anew for every retry. Only exchanges that have produced no event yet are held, so a joiner misses nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import orjson

from anyclaude_lab.exchange import Exchange
from anyclaude_lab.proxy.metrics import Metrics
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

KEYED = (
    "model",
    "system",
    "tools",
    "messages",
    "tool_choice",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "thinking",
)


def twin_key(lane: str, request: Request) -> str:
    """Equal for a request and its retry: everything that decides the answer, not `stream` or `max_tokens`."""
    body: JsonObject = {name: request.body.get(name) for name in KEYED}
    return hashlib.sha256(lane.encode() + b"\0" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(slots=True)
class Held:
    """An exchange without a client, and its opening where the backend's headers are still awaited."""

    exchange: Exchange
    opening: asyncio.Future[None]


class RetryGrace:
    """Holds unfinished prefills for `grace_s` seconds."""

    def __init__(self, grace_s: float, metrics: Metrics) -> None:
        self.grace_s, self._metrics = grace_s, metrics
        self._held: dict[str, Held] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}

    async def hold(self, key: str, held: Held) -> None:
        """Keep it for its twin, or drop it at once where it is not worth keeping."""
        worth = held.exchange.variant.backend.loses_prefill_on_abort and held.exchange.untouched
        if not worth or self.grace_s <= 0 or key in self._held:
            await let_go(held)
            return
        self._metrics.retry_grace.labels("held").inc()
        self._held[key] = held
        self._timers[key] = asyncio.create_task(self._expire(key))

    def take(self, key: str) -> Held | None:
        """The running twin of a request, handed over."""
        held = self._held.pop(key, None)
        if held is not None:
            self._timers.pop(key).cancel()
            self._metrics.retry_grace.labels("joined").inc()
        return held

    async def _expire(self, key: str) -> None:
        await asyncio.sleep(self.grace_s)
        self._timers.pop(key, None)
        self._metrics.retry_grace.labels("cancelled").inc()
        await let_go(self._held.pop(key))

    async def close(self) -> None:
        """Drop everything, and whatever still comes."""
        self.grace_s = 0.0
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        held, self._held = list(self._held.values()), {}
        for one in held:
            await let_go(one)


async def let_go(held: Held) -> None:
    """Stop the backend's work on it, opened or not."""
    held.opening.cancel()
    await asyncio.wait({held.opening})
    if not held.opening.cancelled():
        held.opening.exception()  # seen: nobody is left to tell
    await held.exchange.close()
