"""Writing the body of a streamed answer, a piece per read of the backend: straight to the client's connection."""

from __future__ import annotations

from typing import cast

from aiohttp import web
from aiohttp.http_writer import StreamWriter

FULL_BYTES = 64 * 1024  # unsent, from which on the client is waited for


class BodyWriter:
    """Sends what `web.StreamResponse.write` would send, without its layers: those cost more than the rest of a read.

    `begin` comes first; the response's own `write_eof` comes last.
    """

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._writer: StreamWriter | None = None
        self._head_is_out = False

    async def begin(self, http: web.Request) -> None:
        """Commit to the status and headers; they go out with the first piece."""
        self._writer = cast(StreamWriter | None, await self._response.prepare(http))

    async def write(self, data: bytes) -> None:
        """Send a piece; waits while the client does not read. Raises ConnectionError where it has left."""
        writer = self._writer
        if writer is None or not self._head_is_out or not data:
            self._head_is_out = True
            await self._response.write(data)
            return
        transport = writer.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The client has closed its connection.")
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if writer.chunked else data)
        if transport.get_write_buffer_size() > FULL_BYTES:
            await writer.drain()
