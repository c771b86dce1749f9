"""Answers on the direct way to a server of this machine, byte for byte as servers spell them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from anyclaude_lab.backends.connection import HIGH_BYTES, Connection
from anyclaude_lab.backends.http import Budgets, HttpLeg, Incoming
from anyclaude_lab.errors import BackendFailed, BackendTimeout, StreamCut
from tests.standins.http import wait_until_async


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


async def test_the_head_may_come_alone_before_a_body_without_a_length() -> None:
    opened = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")  # as mlx_lm.server says it, long before its first word
        await opened.wait()
        writer.write(b"all of it")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    leg = HttpLeg(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    incoming = await leg.open("GET", "/")
    opened.set()
    assert await incoming.read() == b"all of it"
    await leg.close()
    server.close()


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


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def telling(budgets: Budgets | None = None) -> AsyncIterator[tuple[Incoming, Callable[[bytes], None]]]:
    """An answer that has begun with `first`, and the way to let its server say more; b"" ends the body."""
    came: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + b"5\r\nfirst\r\n")
        came.set_result(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    leg = HttpLeg(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", budgets=budgets)
    incoming = await leg.open("GET", "/")
    assert await anext(incoming) == b"first"
    writer = await came
    try:
        yield incoming, lambda data: writer.write(b"%x\r\n%b\r\n" % (len(data), data))
    finally:
        await incoming.close()
        await leg.close()
        writer.close()
        server.close()


async def test_pieces_are_handed_over_while_a_read_waits_and_read_where_they_were_refused() -> None:
    async with telling() as (incoming, say):
        taken: list[bytes] = []

        def take(data: bytes) -> bool:
            taken.append(data)
            return data != b"refused"

        incoming.hand_to(take)
        reading = asyncio.ensure_future(anext(incoming))
        for piece in (b"one", b"two", b"refused"):
            say(piece)
            await wait_until_async(lambda piece=piece: taken[-1:] == [piece], "the piece")  # type: ignore[misc]  # a lambda with a default has no type for mypy
        assert await reading == b"refused"
        say(b"unread")  # nobody waits: it is kept
        await asyncio.sleep(0.02)
        assert await anext(incoming) == b"unread"
        assert taken == [b"one", b"two", b"refused"]
        incoming.hand_to(None)
        say(b"three")
        say(b"")
        assert await incoming.read() == b"three"


async def test_what_a_taker_raises_the_read_raises() -> None:
    async with telling() as (incoming, say):

        def take(data: bytes) -> bool:
            raise ZeroDivisionError(data)

        incoming.hand_to(take)
        reading = asyncio.ensure_future(anext(incoming))
        await asyncio.sleep(0)
        say(b"one")
        with pytest.raises(ZeroDivisionError):
            await reading


async def test_silence_after_a_piece_that_was_handed_over_is_a_timeout() -> None:
    async with telling(Budgets(silence_s=20, gap_s=0.6)) as (incoming, say):
        taken: list[bytes] = []

        def take(data: bytes) -> bool:
            taken.append(data)
            return True

        incoming.hand_to(take)
        reading = asyncio.ensure_future(anext(incoming))
        for _ in range(4):
            await asyncio.sleep(0.2)  # all of it together is longer than a gap may be
            say(b"more")
        with pytest.raises(BackendTimeout, match=r"0\.6 s in the middle"):
            await reading
        assert taken == [b"more"] * 4


async def test_announcements_without_end_are_no_answer() -> None:
    flood = b"HTTP/1.1 102 Processing\r\nx-more: " + b"x" * 1000 + b"\r\n\r\n"
    async with saying(*[flood * 40] * 40) as leg:
        with pytest.raises(BackendFailed, match="head of its answer is longer"):
            await leg.open("GET", "/")


class Wire(asyncio.Transport):
    """The connection of an answer that a test hands in itself."""

    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None: ...


async def test_bytes_that_are_no_body_buy_no_patience() -> None:
    connection = Connection("GET")
    connection.connection_made(Wire())
    connection.data_received(CHUNKED + b"2\r\nhi\r\n0\r\n")

    async def drip() -> None:
        while True:
            connection.data_received(b"x-more: 1\r\n")  # a trailer, and another
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    assert await connection.read(0.3) == b"hi"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5) as limit:
            await connection.read(0.3)
    assert not limit.expired()
    dripping.cancel()


@pytest.mark.parametrize("taken", [True, False])
async def test_a_server_that_was_held_back_is_let_go_by_whoever_takes_what_it_sent(taken: bool) -> None:
    wire, connection = Wire(), Connection("GET")
    connection.connection_made(wire)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
    connection.hand_to(lambda data: taken, 5)
    reading = asyncio.ensure_future(connection.read(5))
    await asyncio.sleep(0)
    connection.data_received(b"x" * (HIGH_BYTES + 1))
    assert wire.reading is taken
    if taken:
        connection.connection_lost(None)
    assert len(await reading) == (0 if taken else HIGH_BYTES + 1)
    assert wire.reading
    connection.abort()
