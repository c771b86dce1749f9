"""Passthrough: what reaches the API and what comes back, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from anyclaude_lab.backends.claude import ClaudeBackend
from anyclaude_lab.errors import BackendUnavailable, StreamCut
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.request import Request
from tests.backends.calls import CLIENT_HEADERS, make_call, make_request, read_events
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import wait_until_async
from tests.standins.script import Cut, Refusal, ToolCall, Turn, reply

OWN_CONNECTION = ("host", "connection", "content-length", "transfer-encoding")


@asynccontextmanager
async def claude(
    *turns: Turn, api_key: str | None = None, **options: Any
) -> AsyncIterator[tuple[AnthropicStandIn, ClaudeBackend]]:
    async with AnthropicStandIn(turns, **options) as api:
        backend = ClaudeBackend(api.url, api_key=api_key)
        try:
            yield api, backend
        finally:
            await backend.close()


def travelling(headers: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in OWN_CONNECTION]


async def body_of(answer: Any) -> bytes:
    return b"".join([piece async for piece in answer.body])


async def test_bytes_are_the_same_both_ways() -> None:
    async with claude(reply("Hëllo", ToolCall("Bash", {"command": "ls"}))) as (api, backend):
        odd_spelling = b'{ "model":"claude-x",\n "stream" : true, "later_field": 1.50, "messages": [] }'
        answer = await backend.send(make_request(), make_call(make_request(), body=odd_spelling))
        received = await body_of(answer)
        seen = api.exchanges[0]
        assert (seen.path, seen.query, seen.body) == ("/v1/messages", "beta=true", odd_spelling)
        assert travelling(seen.headers) == travelling(CLIENT_HEADERS)
        assert received == bytes(seen.sent)
        assert answer.status == 200
        assert travelling(answer.headers) == travelling(seen.sent_headers)
        assert ("request-id", "req_000000000000000000000001") in list(answer.headers)


async def test_the_witness_reads_a_plain_stream_without_loss() -> None:
    async with claude(reply("one two three", cached_tokens=5, prompt_tokens=9)) as (api, backend):
        answer = await backend.send(make_request(), make_call(make_request()))
        events = await read_events(answer)
        assert b"".join(event.encode() for event in events) == bytes(api.exchanges[0].sent)
        assert answer.decoder is not None
        assert answer.decoder.ending is Ending.COMPLETE
        assert (answer.decoder.usage.prompt_tokens, answer.decoder.usage.cached_tokens) == (9, 5)


async def test_a_compressed_stream_is_relayed_compressed_and_still_witnessed() -> None:
    async with claude(reply("zipped text"), gzip=True) as (api, backend):
        answer = await backend.send(make_request(), make_call(make_request()))
        assert ("content-encoding", "gzip") in list(answer.headers)
        assert answer.decoder is not None
        received, texts = b"", ""
        async for data in answer.body:
            received += data
            for event in answer.decoder.feed(data):
                texts += event.data.get("delta", {}).get("text", "")
        answer.decoder.close()
        assert received == bytes(api.exchanges[0].sent)
        assert texts == "zipped text"
        assert answer.decoder.ending is Ending.COMPLETE


async def test_an_encoding_we_cannot_read_has_no_witness() -> None:
    headers = (("content-type", "text/event-stream"), ("content-encoding", "br"))
    async with claude(Refusal(200, headers=headers, body=b"\x1b\x00\xff")) as (_, backend):
        answer = await backend.send(make_request(), make_call(make_request()))
        assert answer.decoder is None
        assert await body_of(answer) == b"\x1b\x00\xff"


async def test_a_stream_that_lies_about_its_compression_still_arrives() -> None:
    headers = (("content-type", "text/event-stream"), ("content-encoding", "gzip"))
    async with claude(Refusal(200, headers=headers, body=b"data: not gzip\n\n")) as (_, backend):
        answer = await backend.send(make_request(), make_call(make_request()))
        assert answer.decoder is not None
        received = b""
        async for data in answer.body:
            received += data
            answer.decoder.feed(data)
        answer.decoder.close()
        assert received == b"data: not gzip\n\n"
        assert answer.decoder.ending is Ending.CUT
        assert answer.decoder.failure is not None


@pytest.mark.parametrize(
    ("status", "extra"),
    [(400, ()), (401, ()), (429, (("retry-after", "7"), ("x-should-retry", "true"))), (529, (("retry-after", "1"),))],
)
async def test_a_refusal_is_relayed_unread(status: int, extra: tuple[tuple[str, str], ...]) -> None:
    words = b'{"type":"error",  "error":{"type":"x","message":"thinking blocks: expected signature"}}'
    async with claude(Refusal(status, body=words, headers=extra)) as (_, backend):
        answer = await backend.send(make_request(), make_call(make_request()))
        assert (answer.status, answer.decoder) == (status, None)
        assert set(extra) <= set(answer.headers)
        assert await body_of(answer) == words


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/"), ("GET", "/v1/models?limit=1000"), ("POST", "/v1/messages/count_tokens"), ("DELETE", "/v1/files/x")],
)
async def test_other_paths_and_methods_pass_too(method: str, path: str) -> None:
    body = b"" if method != "POST" else orjson.dumps(make_request().body)
    async with claude() as (api, backend):
        call = make_call(make_request(), method=method, path_qs=path, body=body)
        answer = await backend.send(Request({"model": "", "messages": []}), call)
        received = await body_of(answer)
        seen = api.exchanges[0]
        assert (seen.method, seen.body, answer.status) == (method, body, seen.status)
        assert seen.path == path.partition("?")[0]
        assert received == bytes(seen.sent)


def without_credentials(*more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (*(h for h in CLIENT_HEADERS if h[0] != "authorization"), *more)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("authorization", "Bearer sk-ant-oat01-login"), ("authorization", "Bearer sk-ant-oat01-login")),
        (("X-Api-Key", "sk-ant-api03-own"), ("X-Api-Key", "sk-ant-api03-own")),
        (("Authorization", "Bearer local"), ("x-api-key", "sk-ant-ours")),
        (("x-api-key", "dummy"), ("x-api-key", "sk-ant-ours")),
        (None, ("x-api-key", "sk-ant-ours")),
    ],
)
async def test_whose_credential_is_sent(given: tuple[str, str] | None, expected: tuple[str, str]) -> None:
    async with claude(reply("ok"), api_key="sk-ant-ours") as (api, backend):
        headers = without_credentials(*([given] if given else []))
        await body_of(await backend.send(make_request(), make_call(make_request(), headers=headers)))
        sent = [h for h in api.exchanges[0].headers if h[0].lower() in ("authorization", "x-api-key")]
        assert sent == [expected]


async def test_without_a_key_of_ours_a_placeholder_travels_on() -> None:
    async with claude(reply("ok")) as (api, backend):
        headers = without_credentials(("authorization", "Bearer local"))
        await body_of(await backend.send(make_request(), make_call(make_request(), headers=headers)))
        assert api.exchanges[0].header("authorization") == "Bearer local"


async def test_a_request_made_here_gets_the_headers_of_the_api() -> None:
    async with claude(reply("ok"), api_key="sk-ant-ours") as (api, backend):
        request = make_request()
        await read_events(await backend.send(request, make_call(request, headers=(), body=b"")))
        seen = api.exchanges[0]
        assert seen.json == request.body
        assert seen.header("anthropic-version") == "2023-06-01"
        assert seen.header("x-api-key") == "sk-ant-ours"


async def test_the_key_is_in_no_text_about_the_backend() -> None:
    backend = ClaudeBackend("http://me:pass@127.0.0.1:9", api_key="sk-ant-ours")
    shown = repr(backend) + str(backend.status()) + str(await backend.health())
    assert "sk-ant-ours" not in shown
    assert "pass" not in shown


async def test_nobody_there_is_unavailable_with_a_time_to_come_back() -> None:
    backend = ClaudeBackend("http://127.0.0.1:9")
    with pytest.raises(BackendUnavailable) as caught:
        await backend.send(make_request(), make_call(make_request()))
    assert isinstance(caught.value.retry_after_s, int)
    assert backend.status()["state"] == "down"
    assert "127.0.0.1:9" in str(await backend.health())


async def test_a_cut_stream_is_not_an_end() -> None:
    async with claude(reply("a long text that is cut", fault=Cut("text"))) as (_, backend):
        answer = await backend.send(make_request(), make_call(make_request()))
        with pytest.raises(StreamCut):
            await read_events(answer)
        assert answer.decoder is not None
        assert answer.decoder.ending is Ending.CUT


async def test_closing_ends_the_generation_at_the_api() -> None:
    async with claude(reply("again and again", endless=True)) as (api, backend):
        answer = await backend.send(make_request(), make_call(make_request()))
        await anext(answer.body)
        await answer.close()
        await wait_until_async(lambda: api.exchanges[0].client_gone_s is not None, "the hang-up")


async def test_many_requests_at_once() -> None:
    async with claude(*(reply(f"answer {n}") for n in range(20))) as (api, backend):
        answers = await asyncio.gather(*(backend.send(make_request(), make_call(make_request())) for _ in range(20)))
        bodies = await asyncio.gather(*(body_of(a) for a in answers))
        assert sorted(bodies) == sorted(bytes(e.sent) for e in api.exchanges)
        assert backend.status()["state"] == "up"
