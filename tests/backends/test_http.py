"""The HTTP leg against a server that shows every byte."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from anyclaude_lab.backends.http import ANSWER_LIMIT_BYTES, Budgets, HttpLeg, is_loopback
from anyclaude_lab.errors import BackendFailed, BackendTimeout, BackendUnavailable, SettingsError, StreamCut
from tests.standins.http import DEADLINE_S, Exchange, Hangup, Responder, StandIn, kept_port, wait_until_async

Handler = Callable[[Exchange, Responder], Awaitable[None]]


class Server(StandIn):
    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self.handler = handler

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        await self.handler(exchange, responder)


@asynccontextmanager
async def serving(
    handler: Handler, budgets: Budgets | None = None, *, inflates: bool = False
) -> AsyncIterator[tuple[Server, HttpLeg]]:
    async with Server(handler) as server:
        leg = HttpLeg(server.url, budgets=budgets, inflates=inflates)
        try:
            yield server, leg
        finally:
            await leg.close()


async def hello(exchange: Exchange, responder: Responder) -> None:
    await responder.full(200, b"hello", [("X-ODD-case", "kept"), ("x-twice", "1"), ("X-Twice", "2")])


async def endless(exchange: Exchange, responder: Responder) -> None:
    await responder.start(200, [("content-type", "text/event-stream")])
    while True:
        await responder.write(b"data: x\n\n")
        await responder.pause(0.01)


async def test_a_request_goes_out_as_given() -> None:
    async with serving(hello) as (server, leg):
        given = [("x-B", "2"), ("X-a", "1"), ("x-B", "3"), ("accept-ENCODING", "gzip, br")]
        incoming = await leg.open("POST", "/p%20q?beta=true&x=%2F", headers=given, body=b"{}")
        assert await incoming.read() == b"hello"
        seen = server.exchanges[0]
        assert (seen.path, seen.query, seen.body) == ("/p%20q", "beta=true&x=%2F", b"{}")
        assert [h for h in seen.headers if h[0].lower() not in ("host", "content-length", "connection")] == given


async def test_nothing_is_sent_that_was_not_asked_for() -> None:
    async with serving(hello) as (server, leg):
        await leg.ask("GET", "/")
        assert {name.lower() for name, _ in server.exchanges[0].headers} <= {"host", "connection"}


async def test_an_answers_headers_keep_order_and_spelling() -> None:
    async with serving(hello) as (_, leg):
        incoming = await leg.open("GET", "/")
        await incoming.read()
        assert list(incoming.headers)[:3] == [("X-ODD-case", "kept"), ("x-twice", "1"), ("X-Twice", "2")]


@pytest.mark.filterwarnings("error")
async def test_a_large_body_is_sent_whole_with_its_length() -> None:
    async with serving(hello) as (server, leg):
        body = b"x" * (12 * 1024 * 1024)
        await (await leg.open("POST", "/", body=body)).read()
        assert server.exchanges[0].header("content-length") == str(len(body))
        assert server.exchanges[0].body == body


async def test_an_empty_post_has_a_length() -> None:
    async with serving(hello) as (server, leg):
        await leg.ask("POST", "/")
        assert server.exchanges[0].header("content-length") == "0"


async def test_a_refused_connection_says_how_to_mend_it() -> None:
    with kept_port() as port:
        leg = HttpLeg(f"http://127.0.0.1:{port}", hint="start it with: serve --model M")
        with pytest.raises(
            BackendUnavailable, match=rf"127\.0\.0\.1:{port} .*start it with: serve --model M"
        ) as caught:
            await leg.open("GET", "/")
    assert caught.value.status == 529
    assert isinstance(caught.value.retry_after_s, int)
    assert "(connection refused)" in caught.value.message
    await leg.close()


async def test_a_connection_closed_without_an_answer_is_unavailable() -> None:
    async def rude(exchange: Exchange, responder: Responder) -> None:
        raise Hangup

    async with serving(rude) as (_, leg):
        with pytest.raises(BackendUnavailable, match="closed the connection"):
            await leg.open("POST", "/", body=b"{}")


async def test_silence_before_the_head_is_a_timeout() -> None:
    async def mute(exchange: Exchange, responder: Responder) -> None:
        await responder.pause(30)

    async with serving(mute, Budgets(silence_s=0.1)) as (_, leg):
        with pytest.raises(BackendTimeout, match=r"0\.1 s"):
            await leg.open("POST", "/", body=b"{}")


async def test_silence_in_the_body_is_a_timeout() -> None:
    async def stuck(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        await responder.write(b"some")
        await responder.pause(30)

    async with serving(stuck, Budgets(silence_s=1.0)) as (_, leg):
        incoming = await leg.open("GET", "/")
        assert await anext(incoming) == b"some"
        with pytest.raises(BackendTimeout):
            await anext(incoming)


async def test_the_first_byte_may_take_what_the_prompt_takes() -> None:
    async def late(exchange: Exchange, responder: Responder) -> None:
        await responder.pause(0.4 if len(server.exchanges) == 1 else 30)
        await responder.full(200, b"late")

    async with serving(late, Budgets(silence_s=0.1, prompt_token_s=0.001)) as (server, leg):
        assert await (await leg.open("POST", "/", body=b"{}", prompt_tokens=5000)).read() == b"late"
        for few in (100, 0, None):
            with pytest.raises(BackendTimeout):
                await leg.open("POST", "/", body=b"{}", prompt_tokens=few)


async def test_a_gap_has_a_budget_of_its_own() -> None:
    async def stuck(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        await responder.pause(0.3)
        await responder.write(b"first")
        await responder.pause(30)

    async with serving(stuck, Budgets(silence_s=20, gap_s=0.1)) as (_, leg):
        incoming = await leg.open("GET", "/")
        assert await anext(incoming) == b"first"
        with pytest.raises(BackendTimeout, match=r"0\.1 s in the middle"):
            await anext(incoming)


async def test_the_connection_has_a_budget_of_its_own() -> None:
    with socket.socket() as full:  # accepts nobody: its queue holds one
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        queued = [socket.socket() for _ in range(3)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        leg = HttpLeg(f"http://127.0.0.1:{port}", budgets=Budgets(connect_s=0.2, silence_s=20))
        with pytest.raises(BackendUnavailable, match=r"no connection within 0\.2 s"):
            await leg.open("GET", "/")
        await leg.close()
        for one in queued:
            one.close()


async def test_a_client_that_reads_slowly_is_not_the_backends_silence() -> None:
    async def flood(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        for _ in range(64):
            await responder.write(b"x" * 65536)
        await responder.end()

    async with serving(flood, Budgets(silence_s=1.0)) as (_, leg):
        incoming = await leg.open("GET", "/")
        await anext(incoming)
        await asyncio.sleep(1.2)
        assert len(await incoming.read()) > 0


async def test_any_byte_ends_a_silence() -> None:
    async def slow(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        for _ in range(4):
            await responder.write(b": keepalive 1/2\n\n")
            await responder.pause(0.5)
        await responder.end()

    async with serving(slow, Budgets(silence_s=1.5)) as (_, leg):
        assert len(await (await leg.open("GET", "/")).read()) == 4 * 17


async def test_a_cut_body_gives_all_that_arrived_and_then_raises() -> None:
    async def cut(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        await responder.write(b"abc")
        raise Hangup

    async with serving(cut) as (server, leg):
        incoming = await leg.open("GET", "/")
        await wait_until_async(lambda: server.exchanges[0].ended_s is not None, "the cut")
        await asyncio.sleep(0.05)  # the cut has been noticed before anything was read
        assert await anext(incoming) == b"abc"
        with pytest.raises(StreamCut):
            await anext(incoming)


async def test_a_cancelled_read_may_be_repeated() -> None:
    async def late(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        await responder.pause(DEADLINE_S, given_up.is_set)
        await responder.write(b"late")
        await responder.end()

    given_up = asyncio.Event()
    async with serving(late) as (_, leg):
        incoming = await leg.open("GET", "/")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(incoming)
        given_up.set()
        assert await incoming.read() == b"late"


async def test_closing_reaches_the_server_at_once() -> None:
    async with serving(endless) as (server, leg):
        incoming = await leg.open("GET", "/")
        await anext(incoming)
        await incoming.close()
        await wait_until_async(lambda: server.exchanges[0].client_gone_s is not None, "the hang-up")


async def test_closing_is_noticed_by_a_server_that_is_silent() -> None:
    async def silent(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        await responder.write(b"x")
        await responder.pause(30)

    async with serving(silent) as (server, leg):
        incoming = await leg.open("GET", "/")
        await anext(incoming)
        await incoming.close()
        await wait_until_async(lambda: server.exchanges[0].client_gone_s is not None, "the hang-up")


async def test_cancelling_before_the_head_reaches_the_server() -> None:
    async def mute(exchange: Exchange, responder: Responder) -> None:
        await responder.pause(30)

    async with serving(mute) as (server, leg):
        asking = asyncio.create_task(leg.open("POST", "/", body=b"{}"))
        await wait_until_async(lambda: bool(server.exchanges), "the request")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await wait_until_async(lambda: server.exchanges[0].client_gone_s is not None, "the hang-up")


async def test_an_unread_body_holds_the_server_back() -> None:
    size = 256 * 1024 * 1024

    async def flood(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [])
        for _ in range(size // 65536):
            await responder.write(b"x" * 65536)
        await responder.end()

    async with serving(flood) as (server, leg):
        incoming = await leg.open("GET", "/")
        await anext(incoming)
        before = -1
        while before != (before := len(server.exchanges[0].sent)):
            await asyncio.sleep(0.1)  # until the server stands still
        assert before < size // 4
        await incoming.close()


async def test_a_proxy_of_the_environment_is_ignored_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(hello) as (_, leg):
        assert await (await leg.open("GET", "/")).read() == b"hello"


async def test_a_proxy_of_the_environment_is_used_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server(hello) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "spared.invalid")
        away, spared = HttpLeg("http://far.invalid/v1"), HttpLeg("http://spared.invalid/v1")
        assert await (await away.open("GET", "/models")).read() == b"hello"
        with pytest.raises(BackendUnavailable, match="unknown"):
            await spared.open("GET", "/models")
        assert [e.header("host") for e in proxy.exchanges] == ["far.invalid"]
        await away.close()
        await spared.close()


async def test_credentials_of_the_url_are_sent_and_never_shown() -> None:
    async with Server(hello) as server:
        leg = HttpLeg(server.url.replace("//", "//me:p%40ss@"))
        await leg.ask("GET", "/")
        assert server.exchanges[0].header("authorization") == "Basic bWU6cEBzcw=="
        assert leg.url == server.url
        await leg.close()


@pytest.mark.parametrize("address", ["", "localhost:8080", "ftp://me:secret@host", "http://"])
def test_an_address_that_is_none_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(SettingsError, match="no server address") as caught:
        HttpLeg(address)
    assert "secret" not in str(caught.value)


async def test_ask_gives_nothing_where_nobody_answers_in_time() -> None:
    async def mute(exchange: Exchange, responder: Responder) -> None:
        await responder.pause(30)

    async with serving(mute) as (_, leg):
        assert await leg.ask("GET", "/", timeout_s=0.1) is None


@pytest.mark.parametrize(
    ("host", "here"), [("localhost", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("far.org", False)]
)
def test_what_counts_as_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def compressed(body: bytes, encoding: str = "gzip") -> Handler:
    async def answer(exchange: Exchange, responder: Responder) -> None:
        await responder.full(200, body, [("content-encoding", encoding)])

    return answer


async def read_inflated(handler: Handler) -> bytes:
    async with serving(handler, inflates=True) as (_, leg):
        incoming = await leg.open("GET", "/")
        try:
            return await incoming.read()
        finally:
            await incoming.close()


async def test_a_body_that_came_compressed_unasked_is_read() -> None:
    async def stream(exchange: Exchange, responder: Responder) -> None:
        await responder.start(200, [("content-type", "text/event-stream")], gzip=True)
        for number in range(20):
            await responder.write(b"data: %d\n\n" % number)
        await responder.end()

    assert await read_inflated(stream) == b"".join(b"data: %d\n\n" % number for number in range(20))
    assert await read_inflated(compressed(zlib.compress(b"hello"), "deflate")) == b"hello"


@pytest.mark.parametrize("body", [gzip.compress(b"hello" * 1000)[:-9], b"no gzip at all"], ids=["cut", "foreign"])
async def test_a_compressed_body_that_is_damaged_is_cut(body: bytes) -> None:
    with pytest.raises(StreamCut, match="compressed"):
        await read_inflated(compressed(body))


async def test_a_compression_that_cannot_be_read_is_one_sentence() -> None:
    with pytest.raises(BackendFailed, match="'br', which was not asked for"):
        await read_inflated(compressed(b"x", "br"))


async def test_what_a_few_bytes_unfold_to_comes_in_pieces() -> None:
    async with serving(compressed(gzip.compress(bytes(64 << 20))), inflates=True) as (_, leg):
        incoming = await leg.open("GET", "/")
        assert 0 < len(await anext(incoming)) <= 1 << 20
        assert len(await incoming.read()) == ANSWER_LIMIT_BYTES
        await incoming.close()
