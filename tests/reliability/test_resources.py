"""Slow readers, large bodies, many streams, and the end: memory is bounded and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import json
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from anyclaude_lab.backends.connection import Connection
from anyclaude_lab.backends.http import Incoming
from anyclaude_lab.exchange import Exchange
from anyclaude_lab.proxy import server as server_module
from anyclaude_lab.proxy.client_stream import ClientStream
from anyclaude_lab.proxy.server import Server
from anyclaude_lab.proxy.serving import MAX_BODY_BYTES
from anyclaude_lab.proxy.shared_answer import SharedAnswer
from tests.proxy.conftest import ASK, RunningProxy, StartProxy, start
from tests.reliability.streams import ask, complaints
from tests.standins.faulty import FaultyBackend, Play
from tests.standins.http import DEADLINE_S, wait_until_async

__all__ = ["start"]

MIB = 1024 * 1024


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def ask_without_reading(proxy: RunningProxy) -> asyncio.StreamWriter:
    """A client whose program has stopped: its sockets fill, and that is all."""
    url, body = httpx.URL(proxy.url), json.dumps(ASK).encode()
    _, writer = await asyncio.open_connection(url.host, url.port, limit=4096)
    writer.write(
        f"POST /v1/messages HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    return writer


async def test_clients_that_do_not_read_hold_the_backend_back(start: StartProxy) -> None:
    clients, flood = 20, 64 * MIB
    async with FaultyBackend(Play((chunk("x" * 8000),) * (flood // 8000))) as backend:
        proxy = await start(backend.url)
        before = resident()
        writers = [await ask_without_reading(proxy) for _ in range(clients)]
        await wait_until_async(lambda: backend.open >= clients, "all are asked")
        sent = -1
        while sent != (sent := backend.sent_bytes):
            await asyncio.sleep(0.3)  # until nobody moves
        assert backend.sent_bytes < clients * 16 * MIB  # the sockets' buffers, not the flood
        assert resident() - before < 100 * MIB
        for writer in writers:
            writer.close()
        await wait_until_async(lambda: backend.open == 0, "the backend is let go")


async def test_one_client_that_does_not_read_does_not_hold_up_the_others(start: StartProxy) -> None:
    async with FaultyBackend(Play((chunk("x" * 8000),) * 2000)) as backend:
        proxy = await start(backend.url)
        writer = await ask_without_reading(proxy)
        await wait_until_async(lambda: backend.sent_bytes > 4 * MIB, "it is full")
        backend.play = Play((chunk("fine"), END))
        seen = await ask(proxy.http)
        assert complaints(seen) == [] and b"fine" in seen.body
        writer.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_body_of_almost_64_mib_is_answered(start: StartProxy, stream: bool) -> None:
    async with FaultyBackend(Play((chunk("read it all"), END))) as backend:
        proxy = await start(backend.url)
        text = "word " * ((MAX_BODY_BYTES - 10_000) // 5)
        async with asyncio.timeout(DEADLINE_S):
            answer = await proxy.http.post(
                "/v1/messages",
                json=ASK | {"messages": [{"role": "user", "content": text}], "stream": stream},
                timeout=DEADLINE_S,
            )
        assert answer.status_code == 200 and "read it all" in answer.text
        too_much = await proxy.http.post("/v1/messages", content=b" " * (MAX_BODY_BYTES + 1))
        assert too_much.status_code == 413


async def test_two_hundred_streams_at_once_leave_nothing_behind(start: StartProxy) -> None:
    pieces = tuple(part for _ in range(10) for part in (chunk("some text"), 0.05))
    async with FaultyBackend(Play((*pieces, END))) as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_CONNECT_TIMEOUT": "60000"})  # all connect in one loop
        sockets = open_sockets()
        async with httpx.AsyncClient(
            base_url=proxy.url, trust_env=False, timeout=DEADLINE_S, limits=httpx.Limits(max_connections=None)
        ) as http:
            await ask(http)
            tasks = len(asyncio.all_tasks())
            async with asyncio.timeout(DEADLINE_S):
                seen = await asyncio.gather(*(ask(http) for _ in range(200)))
            assert {one.status for one in seen} == {200}
            assert [wrong for one in seen for wrong in complaints(one)] == []
            assert all(one.complete for one in seen)
        await wait_until_async(lambda: backend.open == 0, "the backend is let go")
        await wait_until_async(lambda: len(asyncio.all_tasks()) <= tasks, "every task has ended")
        await wait_until_async(lambda: 0 <= open_sockets() <= sockets, "every connection is closed")
        assert not proxy.serving.joins._given and not proxy.serving.joins._held


PLAYS = {
    "whole": Play((chunk("all"), END)),
    "cut": Play((chunk("half"),), whole=False),
    "reset": Play((chunk("half"),), whole=False, end="reset"),
    "empty": Play((), whole=False),
    "refused": Play((b"{}",), 500),
    "left": Play((chunk("half"),), end="stall"),
}
OURS = (Exchange, SharedAnswer, ClientStream, Connection, Incoming)


@pytest.mark.parametrize("kind", PLAYS)
async def test_an_answer_is_gone_with_its_end_and_waits_for_no_collector(start: StartProxy, kind: str) -> None:
    """Circles of hundreds of failed requests, freed minutes later, are what makes a process grow."""
    async with FaultyBackend(PLAYS[kind]) as backend:
        proxy = await start(backend.url)
        proxy.serving.joins.grace_s = 0.0
        gc.collect()
        others = {id(one) for one in ours()}  # what tests before this one left
        gc.disable()
        try:
            for _ in range(5):
                with suppress(TimeoutError):
                    await ask(proxy.http, deadline_s=0.3 if kind == "left" else DEADLINE_S)
            await wait_until_async(lambda: backend.open == 0, "the backend is let go")
            await wait_until_async(lambda: not [one for one in ours() if id(one) not in others], "nothing is left")
        finally:
            gc.enable()


def ours() -> list[object]:
    """The parts of requests that are still in memory."""
    return [one for one in gc.get_objects() if isinstance(one, OURS)]


async def test_a_proxy_told_to_stop_ends_fifty_streams_in_time(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SHUTDOWN_S", 1.0)
    async with FaultyBackend(Play((chunk("on and on"), *((0.05, chunk("and on ")) * 2000)))) as backend:
        proxy = await start(backend.url)
        server = Server(proxy.serving)
        url = await server.start("127.0.0.1", 0)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE_S) as http:
            asking = [asyncio.create_task(ask(http)) for _ in range(50)]
            await wait_until_async(lambda: backend.asked == 50, "all are asked")
            async with asyncio.timeout(50):  # half of what is left of the answers
                await server.stop()
            for seen in await asyncio.gather(*asking):
                assert not seen.complete and complaints(seen) == []
        await wait_until_async(lambda: backend.open == 0, "the backend is let go")


def open_sockets() -> int:
    """Sockets this process holds; 0 where that cannot be seen."""
    links = [link for link in Path("/proc/self/fd").glob("*") if link.is_symlink()]
    with suppress(OSError):  # one may be closed meanwhile
        return sum("socket" in str(link.readlink()) for link in links)
    return -1
