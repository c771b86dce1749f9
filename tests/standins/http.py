"""A small HTTP/1.1 server on raw sockets, made for tests.

Frameworks hide what the tests must see: the header lines as they came, the bytes that really left, the moment
at which the other side hung up. So requests are parsed here by hand; only what real clients send is supported
(Content-Length and chunked bodies, keep-alive, no pipelining).
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self, TypeVar

JsonObject = dict[str, Any]
HeaderList = Sequence[tuple[str, str]]

MAX_BODY_BYTES = 256 * 1024 * 1024
POLL_S = 0.01
DEADLINE_S = 120.0
"""How long is waited for what must come: nobody waits so long for what does, however busy the machine is."""


class ClientGone(Exception):
    """The other side closed the connection while a reply was being written."""


class Hangup(Exception):
    """The script wants the connection cut here, without the end that the protocol asks for."""


@dataclass(slots=True)
class Exchange:
    """One request as it came and everything that was sent back. Times are `time.monotonic()` seconds."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    started_s: float
    status: int | None = None
    sent_headers: list[tuple[str, str]] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)
    """Body bytes as they left, content coding included, transfer coding not."""
    ended_s: float | None = None
    client_gone_s: float | None = None
    """When the other side hung up before the reply was complete; None when it stayed."""

    @property
    def json(self) -> JsonObject:
        """The request body, parsed. Raises ValueError when it is no JSON object."""
        value = json.loads(self.body)
        if not isinstance(value, dict):
            raise ValueError(f"the request body is a JSON {type(value).__name__}, not an object")
        return value

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class _Connection(asyncio.Protocol):
    """One accepted socket: a byte buffer, back-pressure, and a flag that is raised when the peer leaves."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self.transport: asyncio.Transport
        self.buffer = bytearray()
        self.changed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.gone_s: float | None = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.standin.connections_opened += 1
        self.task = asyncio.get_running_loop().create_task(self.standin._serve(self))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.changed.set()

    def eof_received(self) -> bool:
        self._left()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def _left(self) -> None:
        if self.gone_s is None:
            self.gone_s = time.monotonic()
            self.standin.connections_closed += 1
        self.changed.set()

    async def more(self) -> None:
        """Wait until the buffer has grown. Raises ClientGone at the end of the input."""
        while True:
            before = len(self.buffer)
            if self.gone_s is not None:
                raise ClientGone
            self.changed.clear()
            await self.changed.wait()
            if len(self.buffer) > before:
                return

    async def take_until(self, mark: bytes) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            await self.more()
        return self._take(at + len(mark))

    async def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            await self.more()
        return self._take(count)

    def _take(self, count: int) -> bytes:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data


class Responder:
    """Writes the answer of one exchange and records every byte of it."""

    def __init__(self, exchange: Exchange, connection: _Connection, *, http10: bool, piece_bytes: int | None) -> None:
        self.exchange = exchange
        self._connection = connection
        self._http10 = http10
        self._piece_bytes = piece_bytes
        self._chunked = False
        self._deflate: Any = None
        self.keep_alive = not http10

    async def start(self, status: int, headers: HeaderList, *, gzip: bool = False) -> None:
        """Send status and headers of a body whose length is not known yet."""
        extra: list[tuple[str, str]] = []
        if gzip:
            self._deflate = zlib.compressobj(wbits=31)
            extra.append(("content-encoding", "gzip"))
        self._chunked = not self._http10
        if self._chunked:
            extra.append(("transfer-encoding", "chunked"))
        await self._head(status, [*headers, *extra])

    async def write(self, data: bytes) -> None:
        """Send body bytes, cut into pieces of `piece_bytes` where the stand-in was told to."""
        if self._deflate is not None:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        step = self._piece_bytes or max(len(data), 1)
        for start in range(0, len(data), step):
            await self._body(data[start : start + step])
            if self._piece_bytes:
                await asyncio.sleep(0)

    async def end(self) -> None:
        """End the body as the protocol wants it."""
        if self._deflate is not None:
            await self._body(self._deflate.flush(zlib.Z_FINISH))
        if self._chunked:
            await self._raw(b"0\r\n\r\n")

    async def full(self, status: int, body: bytes | JsonObject | list[Any], headers: HeaderList = ()) -> None:
        """Send one complete answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.lower() for name, _ in headers}
        extra = [] if "content-type" in given else [("content-type", "application/json")]
        if not self._http10 and "content-length" not in given:
            extra.append(("content-length", str(len(data))))
        await self._head(status, [*headers, *extra])
        if data and self.exchange.method != "HEAD":
            await self._body(data)

    async def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Wait so long, or until something is so, but notice at once when the other side hangs up."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not (until is not None and until()):
            self._check()
            self._connection.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._connection.changed.wait(), left if until is None else POLL_S)
        self._check()

    async def _head(self, status: int, headers: HeaderList) -> None:
        self.exchange.status = status
        self.exchange.sent_headers = list(headers)
        if self._http10 or not self.keep_alive:
            headers = [*headers, ("connection", "close")]
        version = "1.0" if self._http10 else "1.1"
        lines = [f"HTTP/{version} {status} {_reason(status)}", *(f"{name}: {value}" for name, value in headers)]
        await self._raw(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def _body(self, data: bytes) -> None:
        if not data:
            return
        await self._raw(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self.exchange.sent += data

    async def _raw(self, data: bytes) -> None:
        self._check()
        self._connection.transport.write(data)
        await self._connection.writable.wait()

    def _check(self) -> None:
        if self._connection.gone_s is not None:
            raise ClientGone


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded" if status == 529 else "Unknown"


class StandIn:
    """Base of all stand-ins: an async context manager on a free port of 127.0.0.1.

    `exchanges` holds every request in order of arrival; `violations` every sentence that names something a
    client of this server must not do.
    """

    http10 = False

    def __init__(self, *, port: int = 0, piece_bytes: int | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self.violations: list[str] = []
        self.connections_opened = 0
        self.connections_closed = 0
        self.piece_bytes = piece_bytes
        self.port = port
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        """Answer one request; subclasses say how."""
        raise NotImplementedError

    def posts(self, path: str) -> list[Exchange]:
        """The POST requests to that path, in order."""
        return [e for e in self.exchanges if e.method == "POST" and e.path == path]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._open):
            connection.transport.abort()
            if connection.task is not None:
                connection.task.cancel()
        await asyncio.gather(*(c.task for c in self._open if c.task is not None), return_exceptions=True)

    async def _serve(self, connection: _Connection) -> None:
        self._open.add(connection)
        try:
            while await self._one(connection):
                pass
        except ClientGone:
            pass
        finally:
            self._open.discard(connection)
            connection.transport.close()

    async def _one(self, connection: _Connection) -> bool:
        """Serve one request; True when another may follow on the same connection."""
        exchange = await self._read(connection)
        self.exchanges.append(exchange)
        responder = Responder(exchange, connection, http10=self.http10, piece_bytes=self.piece_bytes)
        if (exchange.header("connection") or "").lower() == "close":
            responder.keep_alive = False
        try:
            await self.answer(exchange, responder)
        except Hangup:
            # What was written must reach the peer before the cut: an abort would drop the kernel's send buffer.
            connection.transport.close()
            return False
        except ClientGone:
            exchange.client_gone_s = connection.gone_s
            raise
        finally:
            exchange.ended_s = time.monotonic()
        return responder.keep_alive

    async def _read(self, connection: _Connection) -> Exchange:
        head = (await connection.take_until(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _version = first.split(" ", 2)
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        path, _, query = target.partition("?")
        exchange = Exchange(method, path, query, headers, b"", time.monotonic())
        if (exchange.header("expect") or "").lower() == "100-continue":
            connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.body = await self._read_body(connection, exchange)
        return exchange

    @staticmethod
    async def _read_body(connection: _Connection, exchange: Exchange) -> bytes:
        if "chunked" in (exchange.header("transfer-encoding") or ""):
            body = bytearray()
            while size := int((await connection.take_until(b"\r\n")).split(b";")[0], 16):
                body += await connection.take(size)
                await connection.take(2)
                assert len(body) <= MAX_BODY_BYTES
            await connection.take_until(b"\r\n")
            return bytes(body)
        return await connection.take(int(exchange.header("content-length") or 0))


AnyServer = TypeVar("AnyServer", bound=AbstractAsyncContextManager[Any])


@contextmanager
def running(standin: AnyServer) -> Iterator[AnyServer]:
    """Run a stand-in or a tap on a thread of its own, for tests that drive other processes."""
    ready = threading.Event()
    failure: list[BaseException] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        try:
            async with standin:
                ready.set()
                await stop.wait()
        except BaseException as error:
            failure.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="stand-in", daemon=True)
    thread.start()
    assert ready.wait(DEADLINE_S), "the stand-in does not listen"
    if failure:
        raise failure[0]
    try:
        yield standin
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE_S)
        loop.close()


@contextmanager
def kept_port() -> Iterator[int]:
    """A port of this machine on which nobody listens, and nobody will but who asks for it by its number."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        port = keeper.getsockname()[1]
        if sys.platform != "linux":
            keeper.close()  # elsewhere two sockets cannot have one port, even where only one of them listens
        yield port


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until the condition holds. Raises AssertionError naming `what` after the deadline."""
    until = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(POLL_S)


async def wait_until_async(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """The same for a test that shares its event loop with the stand-in."""
    until = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(POLL_S)
