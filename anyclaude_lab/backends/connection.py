"""One HTTP/1.1 exchange on a connection of its own, on the event loop's own terms: no stream, task or timer per read.

This is the way to servers on this machine, where every token passes. The head of an answer is read by aiohttp's parser,
its body by `framing`.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import NoReturn, cast

from aiohttp import http_exceptions
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpResponseParser, RawResponseMessage

from anyclaude_lab.backends.base import RawHeaders, Taker
from anyclaude_lab.backends.framing import Body, Chunked, Sized, Unframed, UntilClosed

HIGH_BYTES, LOW_BYTES = 256 * 1024, 64 * 1024  # unread, from which on the server is held back, and let go again
HEADER_LIMIT_BYTES = 64 * 1024
HEAD_LIMIT_BYTES = 1024 * 1024
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5: would begin another header


class NoHttp(Exception):
    """What came is no answer in HTTP/1.1; says why."""


class Connection(asyncio.Protocol):
    """Sends one request, and keeps what comes back until it is read.

    `answered` gives the head, `read` the body, a piece per read. Both raise OSError where the connection broke, after
    all that had arrived before; TimeoutError where nothing came in time; NoHttp. Either may be cancelled and repeated.
    """

    def __init__(self, method: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._bodiless = method == "HEAD"
        self._transport: asyncio.Transport | None = None
        self._head_bytes = b""
        self._heads_bytes = 0  # of those that only announce the answer, too
        self._head: RawResponseMessage | None = None
        self._body: Body | None = None
        self._pieces: list[bytes] = []
        self._unread_bytes = 0
        self._held_back = False
        self._over: Exception | None = None  # nothing more will come, and why; EOFError where that is as it should be
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Taker | None = None
        self._taker_patience_s = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- what the owner calls

    def send(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None, "connected first"
        self._transport.writelines([head, body] if body else [head])

    async def answered(self, patience_s: float) -> RawResponseMessage:
        """The head of the answer."""
        self._deadline = self._now() + patience_s
        while self._head is None:
            if self._over is not None:
                self._raise_why()
            await self._more()
        return self._head

    async def read(self, patience_s: float) -> bytes:
        """What has arrived of the body; b"" at its end. Bytes that are no body, such as trailers, buy no patience."""
        self._deadline = self._now() + patience_s
        while not self._pieces:
            if self._over is not None:
                if isinstance(self._over, EOFError):
                    return b""
                self._raise_why()
            await self._more()
        pieces, self._pieces = self._pieces, []
        self._let_go()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def hand_to(self, taker: Taker | None, patience_s: float) -> None:
        """See `Reply.hand_to`. What the taker raises, the read that waits raises."""
        self._taker, self._taker_patience_s = taker, patience_s

    def abort(self) -> None:
        """Hang up now, without a goodbye."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        transport, self._transport = self._transport, None  # it holds us: together they would wait for the collector
        if transport is not None:
            transport.abort()

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._over is not None:
            return
        try:
            body = self._body
            if body is None:
                data = self._read_head(data)
                body = self._body
            if body is not None:
                body.feed(data, self._pieces)
                self._unread_bytes += len(data)
                if body.ended:
                    self._over = EOFError()
                elif self._unread_bytes > HIGH_BYTES:
                    self._hold_back()
        except (NoHttp, Unframed) as error:
            self._over = error if isinstance(error, NoHttp) else NoHttp(str(error))
        if self._waiter is not None and not self._waiter.done() and not self._handed_over():
            self._waiter.set_result(None)

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._over is None:
            whole = exc is None and isinstance(self._body, UntilClosed)
            self._over = EOFError() if whole else exc or ConnectionResetError("connection closed")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- reading

    def _handed_over(self) -> bool:
        """Whether what has arrived was taken, so that the read which waits can go on waiting."""
        if self._taker is None or self._over is not None or not self._pieces:
            return False
        try:
            taken = self._taker(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
        except Exception as error:  # whoever reads is told
            self._pieces, self._over = [], error
            return False
        if taken:
            self._pieces.clear()
            self._unread_bytes = 0
            if self._held_back:
                self._let_go()
            self._deadline = self._now() + self._taker_patience_s
        return taken

    def _raise_why(self) -> NoReturn:
        """Raise why nothing more will come. What was raised holds us by its frames, so it is not kept."""
        why = self._over if not isinstance(self._over, EOFError) else ConnectionResetError("closed")
        assert why is not None
        self._over = NoHttp(*why.args) if isinstance(why, NoHttp) else ConnectionResetError(str(why))
        try:
            raise why
        finally:
            del why

    def _hold_back(self) -> None:
        if not self._held_back and self._transport is not None:
            self._held_back = True
            self._transport.pause_reading()

    def _let_go(self) -> None:
        """All that had arrived was taken."""
        self._unread_bytes = 0
        if self._held_back and self._transport is not None:
            self._held_back = False
            self._transport.resume_reading()

    def _read_head(self, data: bytes) -> bytes:
        """Take the head in; what is left of `data` belongs to the body."""
        seen = max(0, len(self._head_bytes) - 3)  # the end may have begun there, not earlier
        self._head_bytes += data
        self._heads_bytes += len(data)
        while end := _END_OF_HEAD.search(self._head_bytes, seen):
            seen = 0
            raw, self._head_bytes = self._head_bytes[: end.end()], self._head_bytes[end.end() :]
            head = _parsed(raw)
            if head.code == 101 or head.upgrade:
                raise NoHttp("it wants to change the protocol")
            if head.code >= 200:  # others announce the answer
                self._head, self._body = head, _body_of(head, self._bodiless)
                return self._head_bytes
        if self._heads_bytes > HEAD_LIMIT_BYTES:
            raise NoHttp(f"the head of its answer is longer than {HEAD_LIMIT_BYTES} bytes")
        return b""

    # --- waiting

    async def _more(self) -> None:
        """Wait until something happened. One timer serves all reads: it looks again when it was early."""
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return  # nobody waits; who waits next sets it again
        if self._now() >= self._deadline:
            self._waiter.set_exception(TimeoutError())
        else:
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)


async def connected(method: str, host: str, port: int) -> Connection:
    """A connection to the first address of `host` that takes one. Raises OSError, that of the last address."""
    loop = asyncio.get_running_loop()
    addresses = [host]
    if not host[-1:].isdigit() and ":" not in host:  # a name
        addresses = [str(found[4][0]) for found in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    failure: OSError = ConnectionRefusedError()
    for address in addresses:
        connection = Connection(method)
        try:
            await loop.create_connection(lambda made=connection: made, address, port)  # type: ignore[misc]  # a lambda with a default has no type for mypy
            return connection
        except OSError as error:
            failure = error
        except BaseException:
            connection.abort()
            raise
    raise failure


def request_head(method: str, path_qs: str, host: str, headers: RawHeaders, body_bytes: int) -> bytes:
    """The head of a request on a connection that serves it alone. Header bytes that are no UTF-8 stay as they are."""
    lines = [f"{method} {path_qs} HTTP/1.1"]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body_bytes or method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
        lines.append(f"Content-Length: {body_bytes}")
    lines.append("Connection: close")
    head = "\r\n".join(lines)
    if head.count("\r\n") != len(lines) - 1 or _CONTROL.search(head.replace("\r\n", "")):
        raise ValueError("a control character stands in a header")
    return (head + "\r\n\r\n").encode("utf-8", "surrogateescape")


def _parsed(raw: bytes) -> RawResponseMessage:
    loop = asyncio.get_running_loop()
    parser = HttpResponseParser(
        BaseProtocol(loop),
        loop,
        2**16,
        response_with_body=False,
        max_line_size=HEADER_LIMIT_BYTES,
        max_field_size=HEADER_LIMIT_BYTES,
        auto_decompress=False,
    )
    try:
        messages, _, _ = parser.feed_data(raw)
    except http_exceptions.HttpProcessingError as error:
        raise NoHttp(" ".join(str(error).split())) from None
    if not messages:
        raise NoHttp(f"{raw[:40]!r} is no head of an answer")
    return messages[0][0]


def _body_of(head: RawResponseMessage, bodiless: bool) -> Body:
    if bodiless or head.code in (204, 304):
        return Sized(0)
    if head.chunked:
        return Chunked()
    if (length := head.headers.get("Content-Length")) is not None:
        if not length.isascii() or not length.isdigit():
            raise NoHttp(f"its Content-Length is {length!r}")
        return Sized(int(length))
    return UntilClosed()
