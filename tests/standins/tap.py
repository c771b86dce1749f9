"""A wire tap: a TCP relay that keeps every byte of both directions and can read the HTTP/1.1 exchanges in them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

READ_BYTES = 65536


@dataclass(slots=True)
class Wire:
    """The bytes of one connection, as they passed."""

    upward: bytearray = field(default_factory=bytearray)
    downward: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Passed:
    """One request and its answer. `complete` is False when the answer was cut or is still under way."""

    method: str
    target: str
    request_headers: list[tuple[str, str]]
    request_body: bytes
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    """The answer's body in its content coding, transfer coding removed."""
    complete: bool

    @property
    def is_stream(self) -> bool:
        return any(n.lower() == "content-type" and v.startswith("text/event-stream") for n, v in self.headers)


class Tap:
    """Listens on a free port and passes everything on to `upstream`; usable like a stand-in."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None and parts.port is not None
        self.upstream = (parts.hostname, parts.port)
        self.port = 0
        self.wires: list[Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def passed(self) -> list[Passed]:
        """Every exchange whose answer has begun, connection by connection."""
        return [exchange for wire in self.wires for exchange in exchanges(wire)]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of ours: the one that asyncio makes for a coroutine complains when it is cancelled.
        task = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire()
        self.wires.append(wire)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            writer.close()
            return
        directions = [
            asyncio.create_task(_pump(reader, up_writer, wire.upward)),
            asyncio.create_task(_pump(up_reader, writer, wire.downward)),
        ]
        try:
            # Whichever side hangs up first, the other hears of it at once: that is what the tests measure.
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for end in (writer, up_writer):
                end.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(READ_BYTES):
            record += data
            writer.write(data)
            await writer.drain()


def exchanges(wire: Wire) -> Iterator[Passed]:
    """The exchanges of one connection, in order."""
    requests = bytes(wire.upward)
    answers = bytes(wire.downward)
    while b"\r\n\r\n" in requests:
        line, request_headers, requests = _head(requests)
        method, target, _ = line.split(" ", 2)
        request_body, requests, _ = _body(requests, request_headers, until_close=False)
        status = 100
        headers: list[tuple[str, str]] = []
        while status < 200:
            if b"\r\n\r\n" not in answers:
                return
            line, headers, answers = _head(answers)
            status = int(line.split(" ")[1])
        bodiless = method == "HEAD" or status in (204, 304)
        body, answers, complete = (b"", answers, True) if bodiless else _body(answers, headers, until_close=True)
        yield Passed(method, target, request_headers, request_body, status, headers, body, complete)


def _head(data: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)], rest


def _body(data: bytes, headers: list[tuple[str, str]], *, until_close: bool) -> tuple[bytes, bytes, bool]:
    """Body, what follows it, and whether it is complete."""
    named = {name.lower(): value for name, value in headers}
    if "chunked" in named.get("transfer-encoding", ""):
        return _chunks(data)
    if "content-length" in named:
        length = int(named["content-length"])
        return data[:length], data[length:], len(data) >= length
    return (data, b"", True) if until_close else (b"", data, True)


def _chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    body = bytearray()
    while found := re.match(rb"([0-9a-fA-F]+)[^\r\n]*\r\n", data):
        size = int(found[1], 16)
        data = data[found.end() :]
        if size == 0:
            _, _, rest = data.partition(b"\r\n")
            return bytes(body), rest, True
        body += data[:size]
        if len(data) < size + 2:
            break
        data = data[size + 2 :]
    return bytes(body), b"", False
