"""A company's way out: a CONNECT proxy, and a TLS front with a private authority before a stand-in."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Certificates:
    """A private authority, and what it says of one host. Made by openssl, for one test."""

    authority: Path
    certificate: Path
    key: Path


def certificates(openssl: Path, folder: Path, host: str) -> Certificates:
    """Make them below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, ca, key, request, signed, extra = (
        folder / name for name in ("ca.key", "ca.pem", "host.key", "host.csr", "host.pem", "extra")
    )
    extra.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n")
    authority = ["-subj", "/CN=Private authority", "-addext", "keyUsage=critical,keyCertSign"]
    by_authority = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", extra]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for words in (
        ["req", "-x509", *new_key, "-days", "2", *authority, "-keyout", ca_key, "-out", ca],
        ["req", *new_key, "-subj", f"/CN={host}", "-keyout", key, "-out", request],
        ["x509", "-req", "-in", request, *by_authority, "-days", "2", "-out", signed],
    ):
        subprocess.run([str(openssl), *map(str, words)], check=True, capture_output=True, timeout=30)
    return Certificates(ca, signed, key)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()


class _Relay:
    """Passes connections on to a port of this machine."""

    def __init__(self, port: int) -> None:
        self.target, self.port = port, 0
        self._server: asyncio.Server | None = None

    async def _start(self, context: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._pass_on(reader, writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        with suppress(asyncio.CancelledError):  # the loop ends before the connection does
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


class TlsFront(_Relay):
    """Speaks TLS for the plain server on `port`."""

    def __init__(self, port: int, made: Certificates) -> None:
        super().__init__(port)
        self._made = made

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._made.certificate, self._made.key)
        await self._start(context)
        return self


class ConnectProxy(_Relay):
    """Lets every CONNECT through to the one `port`, whatever host it names; `status` other than 200 refuses."""

    def __init__(self, port: int, status: int = 200) -> None:
        super().__init__(port)
        self.status = status
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self._start(None)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        writer.write(f"HTTP/1.1 {self.status} Said\r\n\r\n".encode())
        if self.status == 200 and self.heads[-1].startswith("CONNECT "):
            await self._pass_on(reader, writer)
        writer.close()
