"""Writing the body of a streamed answer, a piece per read of the backend: straight to the client's connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from aiohttp import web
from aiohttp.http_writer import StreamWriter

GULP_PIECES = 32  # that went out, and are then looked at together
FULL_BYTES = 64 * 1024  # unsent, from which on the client is waited for


class Streamed(web.StreamResponse):
    """An answer whose head goes out with what is written first."""

    _send_headers_immediately = False  # as with aiohttp's answers of one piece


class BodyWriter:
    """Sends what `web.StreamResponse.write` would send, without its layers: those cost more than the rest of a read.

    `begin` comes first; the response's own `write_eof` comes last.
    """

    def __init__(self, response: Streamed) -> None:
        self._response = response
        self._writer: StreamWriter | None = None
        self._transport: asyncio.Transport | None = None  # once the head is out
        self._chunked = False

    async def begin(self, http: web.Request) -> None:
        """Commit to the status and headers; they go out with the first piece, or alone where that is not there yet."""
        self._writer = cast(StreamWriter | None, await self._response.prepare(http))
        asyncio.get_running_loop().call_soon(self._send_head)

    def _send_head(self) -> None:
        if self._writer is not None:
            with suppress(ConnectionError):  # whoever writes next is told
                self._writer.send_headers()

    def flowing(self) -> bool:
        """Whether `push` may send: the head is out, and the client is there and reads."""
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() <= FULL_BYTES and not transport.is_closing()

    def sent(self, data: bytes) -> bool:
        """Whether the piece is on its way, as nearly every piece; else `write` has to be waited for.

        Raises ConnectionError where the client has left.
        """
        transport = self._transport
        if transport is None or not data or transport.get_write_buffer_size() > FULL_BYTES:
            return False
        if transport.is_closing():
            raise ConnectionResetError("The client has closed its connection.")
        self.push(data)
        return True

    def push(self, data: bytes) -> None:
        """Send a piece that is not empty, right after `flowing` was found true."""
        assert self._transport is not None, "it flows"
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def write(self, data: bytes) -> None:
        """Send a piece, with the head before the first; waits while the client does not read."""
        await self._response.write(data)
        writer = self._writer
        if writer is not None and data:
            await writer.drain()
            self._chunked, self._transport = writer.chunked, writer.transport
