"""One exchange and everyone who reads its answer: usually one client, at times its retry or a duplicate as well."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from anyclaude_lab.errors import StreamCut
from anyclaude_lab.exchange import Exchange, Skim
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event

KEPT_EVENTS = 512  # about ten seconds of a fast model, half a megabyte; a long one counts for each KiB of its text


class SharedAnswer:
    """The events of an exchange, kept from the first one on while somebody may still join.

    Nobody pumps: the reader that wants more than there is reads on, so that clients that do not read hold the backend
    back. A reader that falls more than `KEPT_EVENTS` behind another is cut off.
    """

    def __init__(self, key: str, preparing: Coroutine[Any, Any, Exchange]) -> None:
        self.key = key
        self._preparing = preparing
        self.prepared: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
        self.opened: asyncio.Future[Exchange] = asyncio.ensure_future(_open(preparing, self.prepared))
        self.readers: set[Reader] = set()
        self.holds = 0  # how often it was kept without a reader
        self._kept: list[list[Event]] = []
        self._forgotten = 0  # batches before the kept ones
        self._events = 0  # in the kept batches
        self._called = False  # a tool call is in a reader's hands
        self._reading = asyncio.Lock()
        self._defect: Exception | None = None
        self._taking: Reader | None = None  # who takes pieces as they arrive

    @property
    def joinable(self) -> bool:
        """Whether one more client may read it from its beginning."""
        if self._forgotten or self._defect is not None or (self._called and self.readers):
            return False
        return not _failed(self.prepared) and not _failed(self.opened) and not self._ended_badly()

    @property
    def worth_holding(self) -> bool:
        """Whether its retry would gain by it: a prefill, not yet finished, that hanging up would throw away."""
        if not self.prepared.done() or _failed(self.prepared) or _failed(self.opened):
            return False
        exchange = self.prepared.result()
        return exchange.untouched and exchange.variant.backend.loses_prefill_on_abort

    @property
    def over(self) -> bool:
        """Whether it has come to its end, and the backend was let go."""
        return self.opened.done() and not _failed(self.opened) and self.opened.result().let_go

    def reader(self) -> Reader:
        """One more client, at the beginning."""
        reader = Reader(self)
        self.readers.add(reader)
        return reader

    async def read(self, at: int) -> list[Event]:
        """The events of batch `at`, none where the backend said nothing yet. Raises `StopAsyncIteration` at the end."""
        if at == self._forgotten + len(self._kept):
            await self._reading.acquire()
            try:
                if at == self._forgotten + len(self._kept):  # nobody else has read on meanwhile
                    return await self._read_on()
            finally:
                self._reading.release()
        if at < self._forgotten:
            raise StreamCut("This client read much more slowly than another one that joined its request.")
        return self._kept[at - self._forgotten]

    def hand_over(self) -> None:
        """Have what arrives given to the reader that takes it, where there is one alone; see `Reply.hand_to`."""
        self.settle()
        alone = next(iter(self.readers)) if len(self.readers) == 1 else None
        taker = alone.taker if alone is not None else None
        self._taking = alone if taker is not None else None
        if (reply := self.prepared.result().reply) is not None:
            reply.hand_to(taker.take if taker is not None else None)

    def settle(self) -> None:
        """Keep what was taken since the last time, as if its taker had read it."""
        events = self.prepared.result().skimmed()
        if events and self._taking is not None:
            self._keep(events)
            self._taking.took(events)

    def forget(self) -> None:
        """Drop what no reader needs, once nobody can join any more."""
        if not self._called and self._events <= KEPT_EVENTS:
            return
        needed = min((reader.at for reader in self.readers), default=0)
        while self._kept and (self._forgotten < needed or (self._events > KEPT_EVENTS and len(self._kept) > 1)):
            self._events -= _weight(self._kept.pop(0))
            self._forgotten += 1

    async def let_go(self) -> None:
        """Stop the backend's work on it, opened or not."""
        self.opened.cancel()
        await asyncio.wait({self.opened})
        if not self.prepared.done():  # it was never begun
            self.prepared.cancel()
            self._preparing.close()
        for done in (self.opened, self.prepared):
            if not done.cancelled():
                done.exception()  # seen: nobody is left to tell
        if not _failed(self.prepared):
            await self.prepared.result().close()

    def _keep(self, events: list[Event]) -> None:
        self._kept.append(events)
        self._events += _weight(events)

    async def _read_on(self) -> list[Event]:
        if self._defect is not None:
            raise self._defect
        try:
            events = await self.prepared.result().next()
        except Exception as error:
            self._defect = error
            raise
        finally:
            self.settle()
        if events is None:
            raise StopAsyncIteration
        if events:
            self._keep(events)
            self._called = bool(self.prepared.result().tool_names)
        return events

    def _ended_badly(self) -> bool:
        return self.prepared.done() and self.prepared.result().ending in (Ending.CUT, Ending.ERROR)


class TextTaker(Protocol):
    """Takes pieces of text as they arrive, and hears later what events they were."""

    def take(self, data: bytes) -> bool: ...

    def took(self, events: list[Event]) -> None: ...


class Reader:
    """One client's place in an answer."""

    def __init__(self, answer: SharedAnswer) -> None:
        self.answer, self.at = answer, 0
        self.taker: TextTaker | None = None

    async def prepared(self) -> Exchange:
        """The exchange. Raises what keeps it from being asked."""
        return await asyncio.shield(self.answer.prepared)

    async def opened(self) -> None:
        """Wait for the backend's head. Raises its refusal."""
        await asyncio.shield(self.answer.opened)

    async def next(self) -> list[Event] | None:
        """The events of one read (maybe none), without `message_start`; None at the end. May be cancelled."""
        try:
            events = await self.answer.read(self.at)
        except StopAsyncIteration:
            return None
        self.at += bool(events)
        self.answer.forget()
        return events

    @property
    def skim(self) -> Skim | None:
        """See `Exchange.skim`."""
        return self.answer.prepared.result().skim

    def settle(self) -> None:
        """Have it told what was taken since the last time."""
        self.answer.settle()

    def hand_to(self, taker: TextTaker | None) -> None:
        """Who takes a piece that arrives while `next` waits, where nobody else reads; None: nobody any more."""
        self.taker = taker
        self.answer.hand_over()

    def took(self, events: list[Event]) -> None:
        """These it has taken as they arrived."""
        self.at += 1
        self.answer.forget()
        if self.taker is not None:
            self.taker.took(events)

    def leave(self) -> bool:
        """Read no more; whether nobody else does."""
        readers = self.answer.readers
        readers.discard(self)
        if len(readers) == 1 and any(reader.taker is not None for reader in readers):
            self.answer.hand_over()
        return not readers


def _weight(events: list[Event]) -> int:
    """How much of `KEPT_EVENTS` they take."""
    weight = len(events)
    for event in events:
        if event.raw is not None:
            weight += len(event.raw) // 1024
        elif isinstance(delta := event.data.get("delta"), dict):
            weight += sum(len(value) for value in delta.values() if isinstance(value, str)) // 1024
    return weight


async def _open(preparing: Coroutine[Any, Any, Exchange], prepared: asyncio.Future[Exchange]) -> Exchange:
    """Begin the answer, and tell `prepared` what it is once that is known."""
    try:
        exchange = await preparing
    except asyncio.CancelledError:
        prepared.cancel()
        raise
    except BaseException as error:
        prepared.set_exception(error)
        del prepared  # or the error would hold, by its traceback, what holds it
        raise
    prepared.set_result(exchange)
    await exchange.open()
    return exchange


def _failed(future: asyncio.Future[Exchange]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
