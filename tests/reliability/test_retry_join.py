"""A retry or a duplicate joins the request that is still running: one prefill, the whole answer, nobody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx
import pytest

from anyclaude_lab.proxy import shared_answer
from anyclaude_lab.wire.events import Event, JsonObject
from tests.proxy.conftest import ASK, RunningProxy, StartProxy, said, start
from tests.standins import grammar
from tests.standins.http import DEADLINE_S, wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Cut, Refusal, Reply, Stall, Text, ToolCall, Turn, reply

__all__ = ["start"]  # the fixture

WORDS = " ".join(f"word{i}" for i in range(40))
BASH = {"name": "Bash", "description": "Run.", "input_schema": {"type": "object", "properties": {}}}


def session(name: str) -> dict[str, str]:
    return {"x-claude-code-session-id": name}


ONE, OTHER = session("11111111-1111-4111-8111-111111111111"), session("22222222-2222-4222-8222-222222222222")


async def joins(proxy: RunningProxy) -> dict[str, float]:
    return {one["labels"]["of"]: one["value"] for one in await proxy.metric("anyclaude_joins_total")}


@asynccontextmanager
async def streaming(
    proxy: RunningProxy, headers: dict[str, str], **changes: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
    async with proxy.http.stream("POST", "/v1/messages", json=ASK | changes, headers=headers) as answer:
        yield answer, answer.aiter_raw()


async def read_until(pieces: AsyncIterator[bytes], word: bytes) -> bytes:
    got = bytearray()
    async for piece in pieces:
        got += piece
        if word in got:
            break
    return bytes(got)


async def rest(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def held(until: Callable[[], bool]) -> Reply:
    """An answer of which nothing is said before something is so."""
    return reply(WORDS, until=until)


def half_held(until: Callable[[], bool]) -> Reply:
    """An answer of which only the first half is said before something is so."""
    return reply(WORDS, fault=Stall("text", until=until))


@pytest.mark.parametrize("deltas", [1, 50])  # later ones are taken as they arrive
async def test_a_duplicate_gets_the_answer_from_its_start_and_then_live(deltas: int, start: StartProxy) -> None:
    parts = [WORDS] if deltas == 1 else WORDS.split(" ")
    answer = reply(*parts, gap_s=0.001, fault=Stall("text", until=lambda: _readers(proxy) == 2))
    words = "".join(parts)
    async with OpenAIStandIn([answer], profile="llama.cpp") as backend:
        proxy = await start(backend.url)
        async with streaming(proxy, ONE) as (_, pieces):
            first = b""
            while first.count(b"event: content_block_delta") < deltas:
                first += await read_until(pieces, b"text_delta")
            async with streaming(proxy, ONE, max_tokens=64000) as (_, more):
                got, whole = await asyncio.gather(rest(pieces), rest(more))
        for stream in (first + got, whole):
            assert grammar.violations(stream) == []
            assert words in said(httpx.Response(200, content=stream))
        assert len(backend.chats) == 1
        assert await joins(proxy) == {"waiting": 0, "answering": 1}


async def test_duplicates_that_come_together_share_one_prefill(start: StartProxy) -> None:
    async with OpenAIStandIn([held(lambda: _readers(proxy) == 5)]) as backend:
        proxy = await start(backend.url)
        asking = [proxy.http.post("/v1/messages", json=ASK, headers=ONE) for _ in range(5)]
        answers = await asyncio.gather(*asking)
        assert [WORDS in said(answer) for answer in answers] == [True] * 5
        assert len({answer.headers["request-id"] for answer in answers}) == 5
        assert len(backend.chats) == 1
        assert (await joins(proxy))["answering"] == 4
        one, *_ = await told(proxy, 5)
        assert await proxy.metric("anyclaude_prompt_tokens_total") == one["prompt_tokens"]  # one prompt was computed


async def test_the_fallback_without_a_stream_joins_and_gets_the_whole_message(start: StartProxy) -> None:
    turn = held(lambda: _joined(proxy, "waiting") == 1)
    async with OpenAIStandIn([turn], profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "5000"})
        _, writer = await asked_raw(proxy, ONE)
        await wait_until_async(lambda: len(backend.chats) == 1, "the backend is asked")
        writer.close()
        await wait_until_async(lambda: _readers(proxy) == 0, "it has left")
        async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key="x", max_retries=0) as client:
            asked: Any = {key: value for key, value in ASK.items() if key != "stream"} | {"max_tokens": 4000}
            message = await client.messages.create(**asked, extra_headers=ONE)
        assert [getattr(block, "text", "") for block in message.content] == [WORDS]
        assert len(backend.chats) == 1


async def test_the_attribution_block_and_cache_marks_do_not_tell_two_requests_apart(start: StartProxy) -> None:
    async with OpenAIStandIn([held(lambda: _readers(proxy) == 2)]) as backend:
        proxy = await start(backend.url)

        def asked(token: str, **mark: Any) -> JsonObject:
            billing = {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2; cch={token};"}
            text = {"type": "text", "text": "Hello", **mark}
            return ASK | {"system": [billing], "messages": [{"role": "user", "content": [text]}]}

        bodies = [asked("00000"), asked("fffff", cache_control={"type": "ephemeral"})]
        await asyncio.gather(*(proxy.http.post("/v1/messages", json=body, headers=ONE) for body in bodies))
        assert len(backend.chats) == 1


async def test_what_is_meant_anyway_may_be_said(start: StartProxy) -> None:
    async with OpenAIStandIn([held(lambda: _readers(proxy) == 2)]) as backend:
        proxy = await start(backend.url)
        said_too = {"temperature": 1, "tool_choice": {"type": "auto"}, "stream": False, "max_tokens": 21333}
        bodies = [ASK | {"tools": [BASH]}, ASK | {"tools": [BASH]} | said_too]
        await asyncio.gather(*(proxy.http.post("/v1/messages", json=body, headers=ONE) for body in bodies))
        assert len(backend.chats) == 1


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        (OTHER, {}),
        (ONE | {"x-claude-code-agent-id": "agent-2"}, {}),
        (ONE, {"messages": [{"role": "user", "content": "Hello!"}]}),
        (ONE, {"temperature": 0.5}),
        (ONE, {"system": "Be brief."}),
        (ONE, {"tools": [BASH]}),
        (ONE, {"tools": [BASH], "tool_choice": {"type": "any"}}),
        (ONE, {"output_config": {"effort": "high"}}),
        (ONE, {"max_tokens": 1}),
    ],
)
async def test_another_session_or_another_question_never_joins(
    start: StartProxy, headers: dict[str, str], changes: JsonObject
) -> None:
    def turn(body: JsonObject) -> Turn:
        return held(lambda: len(backend.chats) == 2)

    async with OpenAIStandIn(turn) as backend:
        proxy = await start(backend.url)
        asking = [
            proxy.http.post("/v1/messages", json=ASK, headers=ONE),
            proxy.http.post("/v1/messages", json=ASK | changes, headers=headers),
        ]
        await asyncio.gather(*asking)
        assert len(backend.chats) == 2
        assert (await joins(proxy))["answering"] == 0


async def test_a_client_that_names_no_session_joins_nobody_who_is_there(start: StartProxy) -> None:
    async with OpenAIStandIn(lambda body: held(lambda: len(backend.chats) == 3)) as backend:
        proxy = await start(backend.url)
        await asyncio.gather(*(proxy.ask() for _ in range(3)))  # three samples of one prompt, perhaps
        assert len(backend.chats) == 3


async def test_nobody_joins_after_a_tool_call_is_in_another_clients_hands(start: StartProxy) -> None:
    turns = [
        Reply((ToolCall("Bash", {}), Text(WORDS), ToolCall("Bash", {"n": 2})), gap_s=0.1),
        reply("an answer of its own"),
    ]
    async with OpenAIStandIn(turns) as backend:
        proxy = await start(backend.url)
        async with streaming(proxy, ONE, tools=[BASH]) as (_, pieces):
            first = await read_until(pieces, b"tool_use")
            second = await proxy.http.post("/v1/messages", json=ASK | {"tools": [BASH]}, headers=ONE)
            first += await rest(pieces)
        assert first.count(b'"tool_use"') >= 2
        assert "an answer of its own" in said(second) and b'"tool_use"' not in second.content
        assert len(backend.chats) == 2


async def test_a_failed_answer_is_not_joined(start: StartProxy) -> None:
    async with OpenAIStandIn([Reply((Text(WORDS),), fault=Cut("text")), reply("whole")]) as backend:
        proxy = await start(backend.url)
        with pytest.raises(httpx.RemoteProtocolError):
            await proxy.http.post("/v1/messages", json=ASK, headers=ONE)
        assert "whole" in said(await proxy.http.post("/v1/messages", json=ASK, headers=ONE))


async def test_one_that_leaves_does_not_take_the_answer_from_the_other(start: StartProxy) -> None:
    left: list[bool] = []
    async with OpenAIStandIn([half_held(lambda: bool(left))], profile="mlx-lm") as backend:
        proxy = await start(backend.url)
        async with streaming(proxy, ONE) as (_, pieces):
            await read_until(pieces, b"text_delta")
            asking = asyncio.create_task(proxy.http.post("/v1/messages", json=ASK, headers=ONE))
            await wait_until_async(lambda: _readers(proxy) == 2, "it joined")
        await wait_until_async(lambda: _readers(proxy) == 1, "the first has left")
        left.append(True)
        answer = await asking
        assert WORDS in said(answer) and grammar.violations(answer.content) == []
        assert len(backend.chats) == 1
        assert sorted(item["status"] for item in await told(proxy, 2)) == [200, 499]


@pytest.mark.parametrize("leaving", ["first", "second"])
async def test_whoever_is_left_alone_takes_what_arrives_as_it_arrives(
    leaving: str, start: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Event] = []
    took = shared_answer.Reader.took

    def noted(reader: shared_answer.Reader, events: list[Event]) -> None:
        taken.extend(events)
        took(reader, events)

    monkeypatch.setattr(shared_answer.Reader, "took", noted)
    async with OpenAIStandIn([reply("word ", endless=True)], profile="llama.cpp") as backend:
        proxy = await start(backend.url)
        async with streaming(proxy, ONE) as (first, pieces):
            await read_until(pieces, b"text_delta")
            async with streaming(proxy, ONE) as (second, more):
                await read_until(more, b"text_delta")
                await (first if leaving == "first" else second).aclose()
                left = more if leaving == "first" else pieces
                await read_until(left, b"text_delta")
                taken.clear()
                for _ in range(1000):
                    await read_until(left, b"text_delta")
                    if taken:
                        break
                assert taken


async def test_when_both_have_left_the_backend_is_let_go(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("on and on ", endless=True, gap_s=0.01)]) as backend:
        proxy = await start(backend.url)
        async with streaming(proxy, ONE) as (_, pieces), streaming(proxy, ONE) as (_, more):
            await read_until(pieces, b"text_delta")
            await read_until(more, b"text_delta")
        await wait_until_async(lambda: backend.chats[0].client_gone_s is not None, "the backend is let go")
        assert len(backend.chats) == 1
        await wait_until_async(lambda: not proxy.serving.joins._given, "nothing is kept")


async def test_a_refusal_is_told_to_both(start: StartProxy) -> None:
    async with OpenAIStandIn([Refusal(503, "busy", until=lambda: _readers(proxy) == 2)]) as backend:
        proxy = await start(backend.url)
        answers = await asyncio.gather(*(proxy.http.post("/v1/messages", json=ASK, headers=ONE) for _ in range(2)))
        assert [answer.status_code for answer in answers] == [529, 529]
        assert len(backend.chats) == 1


async def test_each_retry_is_waited_for_twice_as_long(start: StartProxy) -> None:
    graces_s: list[float] = []
    async with OpenAIStandIn([held(lambda: _joined(proxy, "waiting") == 3)], profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "3000"})
        expire = proxy.serving.joins._expire

        async def noted(answer: shared_answer.SharedAnswer, grace_s: float) -> None:
            graces_s.append(grace_s)
            await expire(answer, DEADLINE_S)

        proxy.serving.joins._expire = noted
        for _ in range(3):
            _, writer = await asked_raw(proxy, ONE)
            await wait_until_async(lambda: len(backend.chats) == _readers(proxy) == 1, "it is asked, or has joined")
            writer.close()
            await wait_until_async(lambda: bool(proxy.serving.joins._held), "it has left")
        await asyncio.sleep(0)  # the last wait begins
        assert WORDS in said(await proxy.http.post("/v1/messages", json=ASK, headers=ONE))
        assert len(backend.chats) == 1 and (await joins(proxy))["waiting"] == 3
    assert graces_s == [3.0, 6.0, 12.0]


async def test_whoever_joins_in_the_moment_of_leaving_keeps_the_answer(start: StartProxy) -> None:
    entered = asyncio.Event()
    async with OpenAIStandIn([held(entered.is_set)], profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "100"})
        release = proxy.serving.joins.release

        async def late(*answer: Any, **how: Any) -> None:
            await entered.wait()
            await release(*answer, **how)

        proxy.serving.joins.release = late
        _, writer = await asked_raw(proxy, ONE)
        await wait_until_async(lambda: len(backend.chats) == 1, "the backend is asked")
        writer.close()
        await wait_until_async(lambda: _readers(proxy) == 0, "it has left")
        asking = asyncio.create_task(proxy.http.post("/v1/messages", json=ASK, headers=ONE))
        await wait_until_async(lambda: _readers(proxy) == 1, "the retry has joined")
        entered.set()
        assert WORDS in said(await asking)
        assert len(backend.chats) == 1


async def test_a_reader_that_falls_far_behind_is_cut_and_the_memory_stays_bounded(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("y" * 200_000, endless=True, gap_s=0.001)]) as backend:
        proxy = await start(backend.url)
        async with streaming(proxy, ONE) as (_, pieces):
            await read_until(pieces, b"message_start")
            slow_reader, writer = await asked_raw(proxy, ONE)
            await wait_until_async(lambda: _readers(proxy) == 2, "it joined")
            (given,) = proxy.serving.joins._given.values()
            async for _ in pieces:
                if given._forgotten > 100:  # far beyond what the sockets hold for it
                    break
            kept_bytes = sum(len(event.encode()) for batch in given._kept for event in batch)
            assert kept_bytes <= 1024 * 1024  # few and long events count as much as many and short ones
            async with asyncio.timeout(DEADLINE_S):
                got = await slow_reader.read(-1)
            assert b"message_stop" not in got and not got.endswith(b"0\r\n\r\n")
            assert _readers(proxy) == 1
        writer.close()
        assert len(backend.chats) == 1


async def asked_raw(proxy: RunningProxy, headers: dict[str, str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask on a connection of our own; nothing is read from it unless the test does."""
    url, body = httpx.URL(proxy.url), json.dumps(ASK).encode()
    lines = ["POST /v1/messages HTTP/1.1", f"Host: {url.host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return reader, writer


async def told(proxy: RunningProxy, count: int) -> list[JsonObject]:
    """What the live feed says of the requests that are over, once there are so many."""
    recent = proxy.serving.live.recent
    await wait_until_async(lambda: len(recent) == count, f"{count} requests are over")
    return list(recent)


def _joined(proxy: RunningProxy, of: str) -> float:
    value = proxy.serving.metrics.registry.get_sample_value("anyclaude_joins_total", {"of": of})
    return value or 0.0


def _readers(proxy: RunningProxy) -> int:
    return sum(len(given.readers) for given in proxy.serving.joins._given.values())
