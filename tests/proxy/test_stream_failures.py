"""What goes wrong inside a stream: the client sees a cut it can mend, the backend is let go, the end is told once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from anyclaude_lab.proxy.server import Server
from anyclaude_lab.wire.events import Event, JsonObject
from tests.proxy.conftest import ASK, RunningProxy, StartProxy, said
from tests.standins.http import DEADLINE_S, wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Refusal, Reply, reply

SSE = (("content-type", "text/event-stream"),)


def finished(proxy: RunningProxy) -> list[JsonObject]:
    return [item for item in proxy.serving.live.recent if item["kind"] == "finished"]


async def read_to_the_cut(proxy: RunningProxy, begun: asyncio.Event | None = None) -> bytes:
    got = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        async with proxy.http.stream("POST", "/v1/messages", json=ASK) as answer:
            assert answer.status_code == 200
            if begun is not None:
                begun.set()
            async for data in answer.aiter_bytes():
                got += data
    return bytes(got)


async def leave_during_prefill(proxy: RunningProxy, backend: OpenAIStandIn) -> None:
    body = json.dumps(ASK).encode()
    url = httpx.URL(proxy.url)
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"POST /v1/messages HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    await wait_until_async(lambda: len(backend.chats) == 1, "the backend is asked")
    writer.close()


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": 1},
        {"choices": [{"delta": "text"}]},
        {"choices": [{"delta": {"tool_calls": True}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": ["Read"]}]}}]},
    ],
)
async def test_a_chunk_of_an_unknown_shape_is_a_failure_of_the_backend(start: StartProxy, chunk: JsonObject) -> None:
    odd = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    begun = asyncio.Event()
    late = Refusal(200, headers=SSE, body=odd, until=begun.is_set)
    async with OpenAIStandIn([Refusal(200, headers=SSE, body=odd), late, reply("fine")]) as backend:
        proxy = await start(backend.url)
        refused = await proxy.ask()
        assert (refused.status_code, refused.json()["error"]["type"]) == (500, "api_error")
        assert "unknown shape" in refused.json()["error"]["message"]
        proxy.serving.commit_s = 0.05
        got = await read_to_the_cut(proxy, begun)
        assert b"message_start" in got and b"message_stop" not in got and b"HTTP/1.1" not in got
        assert [item["ending"] for item in finished(proxy)] == ["cut", "cut"]
        assert "fine" in said(await proxy.ask())


async def test_an_error_in_a_stream_may_have_any_code(start: StartProxy) -> None:
    body = b'data: {"error": {"code": {"of": "mine"}, "message": "out of memory"}}\n\n'
    async with OpenAIStandIn([Refusal(200, headers=SSE, body=body)]) as backend:
        refused = await (await start(backend.url)).ask()
        assert (refused.status_code, "out of memory" in refused.text) == (500, True)


async def test_a_defect_of_ours_cuts_the_stream_and_lets_the_backend_go(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with OpenAIStandIn([reply("on and on ", endless=True, gap_s=0.01), reply("fine")]) as backend:
        proxy = await start(backend.url)

        def fail(_: str, events: list[Event]) -> None:
            if events:
                raise RuntimeError("a defect")

        with monkeypatch.context() as broken:
            broken.setattr(proxy.serving.log, "events", fail)
            got = await read_to_the_cut(proxy)
        assert b"text_delta" in got and b"HTTP/1.1" not in got and b"a defect" not in got
        await wait_until_async(lambda: backend.chats[0].client_gone_s is not None, "the backend is let go")
        assert [item["status"] for item in finished(proxy)] == [500]
        assert "fine" in said(await proxy.ask())


async def test_a_client_that_leaves_a_prefill_is_told_of_and_so_is_the_one_that_takes_it_over(
    start: StartProxy,
) -> None:
    proxy: RunningProxy
    again: list[bool] = []
    turn = reply("from the one prefill", until=lambda: bool(again) and not proxy.serving.joins._held)
    async with OpenAIStandIn([turn], profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "5000"})
        await leave_during_prefill(proxy, backend)
        await wait_until_async(lambda: bool(proxy.serving.joins._held), "the prefill is held")
        again.append(True)
        answer = await proxy.ask(max_tokens=64000)
        assert len(backend.chats) == 1
        left, served = finished(proxy)
        assert (left["status"], served["status"]) == (499, 200)
        assert answer.headers["request-id"] == f"req_{served['id']}" != f"req_{left['id']}"


async def test_a_client_that_leaves_with_all_of_its_answer_was_answered(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with OpenAIStandIn([reply("all of it")]) as backend:
        proxy = await start(backend.url)
        release = proxy.serving.joins.release

        async def take_a_moment(*answer: Any, **how: Any) -> None:
            await asyncio.sleep(0.2)
            await release(*answer, **how)

        monkeypatch.setattr(proxy.serving.joins, "release", take_a_moment)
        body = json.dumps(ASK).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.server.port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
        await wait_until_async(lambda: not proxy.server._answering, "the request is over")
        counted = await proxy.metric("anyclaude_requests_total")
        assert [one["labels"]["status"] for one in counted if one["labels"]["endpoint"] == "/v1/messages"] == ["200"]


async def test_a_stream_shows_life_in_time_however_long_the_preparation_took(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with OpenAIStandIn([reply("at last", silence_s=DEADLINE_S)]) as backend:
        proxy = await start(backend.url, commit_s=16, ping_s=DEADLINE_S)
        counter, loop = proxy.serving.variant.counter, asyncio.get_running_loop()
        count, now, counted = counter.count, loop.time, []

        async def slow(*args: Any, **options: Any) -> Any:
            monkeypatch.setattr(loop, "time", lambda: now() + 15.9)
            counted.append(loop.time())
            return await count(*args, **options)

        monkeypatch.setattr(counter, "count", slow)
        async with proxy.http.stream("POST", "/v1/messages", json=ASK, timeout=DEADLINE_S):
            assert loop.time() - counted[0] < 15


@pytest.mark.parametrize("turn", [reply("on and on ", endless=True, gap_s=0.01), reply("never", silence_s=30)])
async def test_a_proxy_that_stops_ends_its_streams_and_tells_of_them(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch, turn: Reply
) -> None:
    monkeypatch.setattr("anyclaude_lab.proxy.server.SHUTDOWN_S", 2.0)
    async with OpenAIStandIn([turn], profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "30000"})
        server = Server(proxy.serving)
        url = await server.start("127.0.0.1", 0)
        asking = asyncio.create_task(proxy.http.post(f"{url}/v1/messages", json=ASK))
        await wait_until_async(lambda: len(backend.chats) == 1, "the backend is asked")
        release = proxy.serving.joins.release

        async def take_a_moment(*answer: Any, **how: Any) -> None:
            await asyncio.sleep(0.05)
            await release(*answer, **how)

        monkeypatch.setattr(proxy.serving.joins, "release", take_a_moment)
        async with asyncio.timeout(3.9):  # not twice the promise
            await server.stop()
        assert [item["status"] for item in finished(proxy)] == [499]
        await wait_until_async(lambda: backend.chats[0].client_gone_s is not None, "the backend is let go")
        with pytest.raises(httpx.RemoteProtocolError):
            await asking
