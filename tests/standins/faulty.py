"""A chat-completions server that breaks in every way a connection can: any bytes, in any pieces, with any end."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

End = Literal["close", "reset", "stall"]
Framing = Literal["chunked", "length", "none"]

MODELS = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode()


@dataclass(frozen=True, slots=True)
class Play:
    """One answer. `pieces` are written as they are, a number among them is a pause in seconds.

    `framing` says how the body's end is told: chunks (`broken_chunk` spoils one), a length (`length_off` makes it
    wrong) or the end of the connection. `whole` adds the last chunk, where there are chunks.
    """

    pieces: tuple[bytes | float, ...] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "text/event-stream"),)
    framing: Framing = "chunked"
    whole: bool = True
    end: End = "close"
    length_off: int = 0
    broken_chunk: int | None = None
    head: bytes | None = None  # in the place of a proper one

    def body(self) -> bytes:
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))

    def wire(self) -> Iterator[bytes | float]:
        """What goes over the connection, in order."""
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{name}: {value}" for name, value in self.headers)]
        if self.framing == "chunked":
            lines.append("transfer-encoding: chunked")
        elif self.framing == "length":
            lines.append(f"content-length: {max(len(self.body()) + self.length_off, 0)}")
        head = self.head if self.head is not None else ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        yield head
        for index, piece in enumerate(self.pieces):
            yield self._framed(index, piece)
        if self.framing == "chunked" and self.whole:
            yield b"0\r\n\r\n"

    def _framed(self, index: int, piece: bytes | float) -> bytes | float:
        if not isinstance(piece, bytes) or self.framing != "chunked" or not piece:
            return piece
        size = b"zz" if index == self.broken_chunk else b"%x" % len(piece)
        return size + b"\r\n" + piece + b"\r\n"


class FaultyBackend:
    """Plays `play` for every completion; lists one model, knows no other path. Stalls until the other side leaves.

    Leaving the context is the death of the server: every connection is closed at once. It can be entered again.
    """

    def __init__(self, play: Play | Callable[[], Play] | None = None, port: int = 0) -> None:
        self.play = play or Play()
        self.asked = 0
        self.port = port
        self.open = 0
        self.sent_bytes = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 26, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()  # its connections live on, so they are ended one by one
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            # Cancelled is how the server dies, and nobody waits for this task to tell.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self.open -= 1
            writer.close()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        lengths = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        await reader.readexactly(int(lengths[0]) if lengths else 0)
        if method == "POST":
            self.asked += 1
            await self._perform(self.play if isinstance(self.play, Play) else self.play(), reader, writer)
        else:
            status, body = (200, MODELS) if path.endswith("/models") else (404, b"{}")
            writer.write(f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()

    async def _perform(self, play: Play, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in play.wire():
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
                self.sent_bytes += len(piece)
            else:
                await asyncio.sleep(piece)
        if play.end == "stall":
            await reader.read()  # until it is left
        elif play.end == "reset":
            raw: socket.socket = writer.get_extra_info("socket")
            with suppress(OSError):  # it may be closed already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
