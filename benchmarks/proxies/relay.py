"""The measure of all proxies: passes bytes from one side to the other, and does no more. UPSTREAM_PORT PORT_FILE."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path


class Upstream(asyncio.Protocol):
    """The connection to the upstream; what it says goes to the client as it comes."""

    def __init__(self, client: asyncio.Transport) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        self.client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.client.close()


class Client(asyncio.Protocol):
    """A client's connection, with one of its own to the upstream."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.upstream: asyncio.Transport | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.opening = asyncio.ensure_future(self.open())

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        made, _ = await loop.create_connection(lambda: Upstream(self.transport), "127.0.0.1", self.upstream_port)
        self.upstream = made
        made.write(b"".join(self.waiting))

    def data_received(self, data: bytes) -> None:
        if self.upstream is None:
            self.waiting.append(data)
        else:
            self.upstream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.close()


async def main(upstream_port: int, port_file: Path) -> None:
    """Serve on a free port, which is written to the file, for as long as the program lives."""
    server = await asyncio.get_running_loop().create_server(lambda: Client(upstream_port), "127.0.0.1", 0)
    await asyncio.to_thread(port_file.write_text, str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
