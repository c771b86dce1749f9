"""One answer of a cluster: as long as nothing of it was heard, it may still come from another node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from anyclaude_lab.backends.base import Reply
from anyclaude_lab.backends.cluster.node import Node
from anyclaude_lab.errors import AnyclaudeError, BackendFailed, BackendTimeout, BackendUnavailable, StreamCut
from anyclaude_lab.wire.decoder import Decoder, Ending
from anyclaude_lab.wire.events import Event, Usage

T = TypeVar("T")
FAULTS = (BackendUnavailable, BackendTimeout, BackendFailed, StreamCut)
SILENT = ("message_start", "ping")  # events that say nothing of an answer yet


@dataclass(slots=True)
class Stay:
    """One request at one node, from its sending to its end. `uncached_tokens`: what it was thought to compute."""

    node: Node
    clock: Callable[[], float]
    uncached_tokens: int
    began: float
    spoke: bool = False
    over: bool = False

    def begin(self) -> None:
        """It is being sent."""
        node = self.node
        node.on_trial = node.failures_in_a_row > 0
        node.requests += 1
        node.in_flight += 1
        node.queued_tokens += self.uncached_tokens

    def heard(self) -> None:
        """The first content came: its prompt is computed."""
        if not self.spoke:
            self.spoke = True
            self.node.queued_tokens -= self.uncached_tokens
            self.node.spoke(self.clock(), self.clock() - self.began)

    def end(self) -> None:
        """It is over, however it went."""
        if self.over:
            return
        self.over = True
        self.node.in_flight -= 1
        if not self.spoke:
            self.node.queued_tokens -= self.uncached_tokens
            self.node.on_trial = False


class Listening:
    """The decoder of whatever node answers. What a node says before it fails, without a word of an answer, is kept."""

    def __init__(self, decoder: Decoder, stay: Stay) -> None:
        self.listen_to(decoder, stay)

    def listen_to(self, decoder: Decoder, stay: Stay) -> None:
        """Another node answers from now on."""
        self.inner, self.stay = decoder, stay
        self.fault: AnyclaudeError | None = None  # why the node is to be left
        self._kept: list[Event] = []

    @property
    def ending(self) -> Ending:
        return Ending.OPEN if self.fault is not None else self.inner.ending

    @property
    def usage(self) -> Usage:
        return self.inner.usage

    @property
    def failure(self) -> AnyclaudeError | None:
        return self.inner.failure

    @property
    def progress(self) -> tuple[int, int] | None:
        return self.inner.progress

    def feed(self, data: bytes) -> list[Event]:
        return self._heard(self.inner.feed(data))

    def close(self) -> list[Event]:
        self.fault = None
        kept, self._kept = self._kept, []
        return kept + self.inner.close()

    def ended(self) -> AnyclaudeError | None:
        """The body is over: what kept the answer away; None where there was one."""
        self._kept += self._heard(self.inner.close())
        return self.fault

    def _heard(self, events: list[Event]) -> list[Event]:
        if self.stay.spoke:
            return events
        if any(event.type not in SILENT for event in events):
            self.stay.heard()
            return events
        failed = self.inner.ending in (Ending.CUT, Ending.ERROR)
        fault = self.inner.failure or StreamCut(f"{self.stay.node.name} broke off before its answer")
        if not failed or not isinstance(fault, FAULTS):
            return events
        self.fault, self._kept = fault, self._kept + events
        return []


async def unless_lost(node: Node, doing: asyncio.Future[T]) -> T:
    """Its result. Raises `BackendUnavailable` where health checks give the node up before; `doing` ends either way."""
    lost = asyncio.ensure_future(node.lost.wait())
    try:
        await asyncio.wait((doing, lost), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise BackendUnavailable(f"{node.name} does not answer any more")
        return doing.result()
    finally:
        lost.cancel()
        doing.cancel()


Move = Callable[[Stay, AnyclaudeError], Awaitable[tuple[Stay, Reply]]]


class Answer:
    """The body of a reply. `move` finds another node, or raises what is to be said; `told` hears of the end."""

    def __init__(self, stay: Stay, reply: Reply, move: Move, told: Callable[[Stay, Usage | None], None]) -> None:
        self._move, self._told = move, told
        self._fault: AnyclaudeError | None = None
        self._doing: asyncio.Task[Any] | None = None  # a read, or a move: it outlives the cancelled wait for it
        self.reply = copy(reply)
        self._listening = Listening(reply.decoder, stay) if reply.decoder is not None else None
        self._take(stay, reply)
        self.reply.body, self.reply.close = self, self.close
        if self._listening is not None:
            self.reply.decoder = self._listening

    def _take(self, stay: Stay, reply: Reply) -> None:
        self._stay, self._body, self._hang_up = stay, reply.body, reply.close
        if self._listening is not None and reply.decoder is not None:
            self._listening.listen_to(reply.decoder, stay)
        for name in ("status", "headers", "backend", "model", "notes", "why"):
            setattr(self.reply, name, getattr(reply, name))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            fault = self._fault or (self._listening.fault if self._listening else None)
            if fault is None:
                try:
                    data = await self._piece()
                except FAULTS as error:
                    fault = self._fault = error
                else:
                    if data is not None:
                        return data
                    fault = self._fault = self._listening.ended() if self._listening else None
                    if fault is None:
                        self._end()
                        raise StopAsyncIteration
            await self._go_elsewhere(fault)

    async def _piece(self) -> bytes | None:
        """What comes next; None at the end. A node that is lost ends the wait for its first words."""
        if self._stay.spoke and self._doing is None:
            return await anext(self._body, None)
        data: bytes | None = await self._steadily(self._first_pieces)
        if data is not None and self._listening is None:
            self._stay.heard()
        return data

    async def _first_pieces(self) -> bytes | None:
        async def read() -> bytes | None:
            return await anext(self._body, None)

        return await unless_lost(self._stay.node, asyncio.ensure_future(read()))

    async def _go_elsewhere(self, fault: AnyclaudeError) -> None:
        stay = self._stay
        if stay.spoke or stay.over:
            if not stay.over:
                stay.node.broke(fault, stay.clock())
            self._end()
            raise fault

        async def moved() -> tuple[Stay, Reply]:
            await self._hang_up()
            return await self._move(stay, fault)

        try:
            taken = await self._steadily(moved)
        except AnyclaudeError as error:
            self._fault = error  # and so it stays
            self._end()
            raise
        stay.end()
        self._fault = None
        self._take(*taken)

    async def _steadily(self, action: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Its result, even where the wait for it was cancelled and is taken up again."""
        if self._doing is None:
            self._doing = asyncio.ensure_future(action())
        await asyncio.wait((self._doing,))
        done, self._doing = self._doing, None
        return done.result()

    async def close(self) -> None:
        """Let go of whatever node it is at."""
        doing, self._doing = self._doing, None
        if doing is not None:
            doing.cancel()
            with suppress(AnyclaudeError, asyncio.CancelledError):
                found = await doing
                if isinstance(found, tuple):  # it had just arrived somewhere
                    found[0].end()
                    await found[1].close()
        self._end()
        await self._hang_up()

    def _end(self) -> None:
        if not self._stay.over:
            self._told(self._stay, self._listening.usage if self._listening else None)
            self._stay.end()
