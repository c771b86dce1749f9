"""Answers on the direct way to a server of this machine, byte for byte as servers spell them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from anyclaude_lab.backends.http import HttpLeg
from anyclaude_lab.errors import BackendFailed, StreamCut


@asynccontextmanager
async def saying(*pieces: bytes, host: str = "127.0.0.1") -> AsyncIterator[HttpLeg]:
    """A leg to a server that says this, a piece at a time, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    leg = HttpLeg(f"http://{host}:{server.sockets[0].getsockname()[1]}")
    try:
        yield leg
    finally:
        await leg.close()
        server.close()


async def body_of(*pieces: bytes, method: str = "GET") -> bytes:
    async with saying(*pieces) as leg:
        incoming = await leg.open(method, "/")
        try:
            return await incoming.read()
        finally:
            await incoming.close()


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    assert await body_of(b"HTTP/1.1 200 OK\r\n\r\nall", b" of it") == b"all of it"


async def test_what_is_announced_before_the_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    assert await body_of(early + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") == b"ok"


async def test_a_head_may_come_in_pieces_and_with_bare_line_ends() -> None:
    assert await body_of(b"HTTP/1.1 200 ", b"OK\ncontent-le", b"ngth: 2\n", b"\nok") == b"ok"


async def test_an_answer_to_head_has_no_body() -> None:
    assert await body_of(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", method="HEAD") == b""


async def test_a_name_of_this_machine_is_looked_up() -> None:
    async with saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", host="localhost") as leg:
        assert await (await leg.open("GET", "/")).read() == b"ok"


@pytest.mark.parametrize(
    "head",
    [
        b"220 smtp ready\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200_000,
    ],
)
async def test_a_head_that_is_no_http_is_said_so(head: bytes) -> None:
    with pytest.raises(BackendFailed, match="does not speak HTTP as expected"):
        await body_of(head)


@pytest.mark.parametrize("rest", [b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"zz\r\n"])
async def test_a_body_that_breaks_off_is_cut(rest: bytes) -> None:
    async with saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n" + rest) as leg:
        incoming = await leg.open("GET", "/")
        assert (await anext(incoming)).startswith(b"abc")
        with pytest.raises(StreamCut):
            await incoming.read()


async def test_a_body_shorter_than_its_length_is_cut() -> None:
    async with saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort") as leg:
        incoming = await leg.open("GET", "/")
        assert await anext(incoming) == b"short"
        with pytest.raises(StreamCut):
            await anext(incoming)
