"""POST /v1/messages end to end on the production runner, before scripted servers."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import anthropic
import httpx
import pytest

from tests.proxy.conftest import ASK, RunningProxy, StartProxy, said
from tests.standins import grammar
from tests.standins.http import wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import OpenRouter
from tests.standins.script import CleanEnd, Cut, Refusal, StreamError, Thinking, ToolCall, reply

READ = {
    "name": "Read",
    "description": "Read a file",
    "input_schema": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}},
        "required": ["file_path"],
    },
}
CALL = ToolCall("Read", {"file_path": "/a b/ü.txt"})


@pytest.mark.parametrize("profile", ["mlx-lm", "llama.cpp", "ollama", "lmstudio", "vllm", "openai"])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_anthropic_sdk_gets_text_and_a_call(start: StartProxy, profile: str, stream: bool) -> None:
    turns = [reply(Thinking("Let me see."), "I read it.", CALL)]
    async with OpenAIStandIn(turns, profile=profile, piece_bytes=7) as backend:
        proxy = await start(backend.url)
        async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key="x", max_retries=0) as client:
            asked: dict[str, Any] = {
                "model": "claude-opus-9",
                "max_tokens": 2000,
                "messages": [{"role": "user", "content": "Read it"}],
                "tools": [READ],
                "thinking": {"type": "adaptive"},
            }
            if stream:
                async with client.messages.stream(**asked) as events:
                    message = await events.get_final_message()
            else:
                message = await client.messages.create(**asked)
        kinds = [block.type for block in message.content]
        assert kinds == ["thinking", "text", "tool_use"]
        assert message.content[2].to_dict()["input"] == {"file_path": "/a b/ü.txt"}
        assert message.stop_reason == "tool_use"
        assert message.model == "claude-opus-9"
        assert message.usage.input_tokens > 0
        assert backend.violations == []
        assert await proxy.metric("anyclaude_sse_grammar_violations_total") == [
            {"labels": {"origin": "translated"}, "value": 0.0},
            {"labels": {"origin": "relayed"}, "value": 0.0},
        ]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"max_tokens": 1, "messages": []}', "model"),
        (
            json.dumps(
                ASK | {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]}]}
            ).encode(),
            "toolu_1",
        ),
    ],
)
async def test_a_wrong_body_is_refused_and_the_next_request_works(
    start: StartProxy, body: bytes, sentence: str
) -> None:
    async with OpenAIStandIn([reply("fine")]) as backend:
        proxy = await start(backend.url)
        refused = await proxy.http.post("/v1/messages", content=body)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"
        assert sentence in refused.json()["error"]["message"]
        assert refused.headers["request-id"].startswith("req_")
        assert "fine" in said(await proxy.ask())


async def test_a_body_over_the_cap_is_refused_unread(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("fine")]) as backend:
        proxy = await start(backend.url)
        host, port = httpx.URL(proxy.url).host, httpx.URL(proxy.url).port
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: {65 * 2**20}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert b" 413 " in head.split(b"\r\n")[0]
        assert "fine" in said(await proxy.ask())


async def test_a_stream_opens_with_its_first_content_in_one_piece(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("fine")]) as backend:
        proxy = await start(backend.url)
        host, port = httpx.URL(proxy.url).host, httpx.URL(proxy.url).port
        reader, writer = await asyncio.open_connection(host, port)
        body = json.dumps(ASK).encode()
        writer.write(
            f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        await reader.readuntil(b"\r\n\r\n")
        size = int(await reader.readline(), 16)
        first = await reader.readexactly(size)
        writer.close()
        assert [name for name, _ in grammar.events(first)][:2] == ["message_start", "content_block_start"]


async def test_a_backend_that_is_down_is_overloaded_with_a_wait_and_a_hint(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        url = backend.url
    proxy = await start(url)
    refused = await proxy.ask()
    assert refused.status_code == 529
    assert refused.json()["error"]["type"] == "overloaded_error"
    assert int(refused.headers["retry-after"]) >= 1
    ready = await proxy.http.get("/health/ready")
    assert ready.status_code == 503
    assert url in ready.json()["checks"]["backend"]["problem"]
    assert (await proxy.http.get("/health/live")).status_code == 200


async def test_the_breaker_opens_after_failures_and_says_when_to_ask_again(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        url = backend.url
    proxy = await start(url)
    for _ in range(5):
        await proxy.ask()
    refused = await proxy.ask()
    assert "left alone" in refused.json()["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert (await proxy.http.get("/v1/circuit-breaker/metrics")).json()["state"] == "OPEN"
    assert await proxy.metric("anyclaude_circuit_breaker_state") == 1
    assert await proxy.metric("anyclaude_circuit_breaker_failures_total") == 5


async def test_an_overflow_speaks_the_clients_words(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("never")]) as backend:
        proxy = await start(backend.url, env={"LOCAL_CONTEXT_LENGTH": "4096"})
        refused = await proxy.ask(messages=[{"role": "user", "content": "word " * 8000}])
        assert refused.status_code == 400
        words = refused.json()["error"]["message"].split()
        assert words[:4] == ["prompt", "is", "too", "long:"]
        assert int(words[4]) > int(words[7]) and words[5:7] == ["tokens", ">"] and words[8] == "maximum"
        assert backend.chats == []


async def test_the_answers_room_is_what_the_window_leaves(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("ok")]) as backend:
        proxy = await start(backend.url, env={"LOCAL_CONTEXT_LENGTH": "8192"})
        await proxy.ask(max_tokens=32000, messages=[{"role": "user", "content": "word " * 2000}])
        sent = backend.chats[0].json
        room = sent.get("max_tokens") or sent["max_completion_tokens"]
        assert 1000 < room < 8192 - 2000


@pytest.mark.parametrize("fault", [Cut("text"), CleanEnd("text"), StreamError("text")])
async def test_a_stream_that_breaks_is_cut_so_that_the_client_asks_again(start: StartProxy, fault: Any) -> None:
    async with OpenAIStandIn(
        [reply("half of a sentence that goes on and on", fault=fault, gap_s=0.05)], profile="openrouter"
    ) as b:
        proxy = await start(
            env={"OPENROUTER_BASE_URL": f"{b.url}/v1", "OPENROUTER_API_KEY": OpenRouter.key},
            flags={"mode": "openrouter", "record": False},
        )
        got = bytearray()
        with pytest.raises(httpx.RemoteProtocolError):
            async with proxy.http.stream("POST", "/v1/messages", json=ASK) as answer:
                answer.raise_for_status()
                async for data in answer.aiter_bytes():
                    got += data
        assert b"event: error" not in got and b"message_stop" not in got
        ends = {e["labels"]["ending"]: e["value"] for e in await proxy.metric("anyclaude_stream_endings_total")}
        assert ends == {"cut": 1.0}


async def test_half_a_call_never_becomes_a_call(start: StartProxy) -> None:
    async with OpenAIStandIn([reply(CALL, fault=Cut("tool"))], profile="llama.cpp") as backend:
        proxy = await start(backend.url)
        got = bytearray()
        with pytest.raises(httpx.HTTPError):
            async with proxy.http.stream("POST", "/v1/messages", json=ASK | {"tools": [READ]}) as answer:
                answer.raise_for_status()
                async for data in answer.aiter_bytes():
                    got += data
        assert b"content_block_stop" not in got


async def test_a_failure_before_the_first_event_is_a_status_not_a_stream(start: StartProxy) -> None:
    async with OpenAIStandIn([Refusal(429, "slow down", headers=(("retry-after", "7"),))]) as backend:
        proxy = await start(backend.url)
        refused = await proxy.ask()
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert refused.headers["retry-after"] == "7"


async def test_silence_is_bridged_by_pings_after_a_start(start: StartProxy) -> None:
    proxy: RunningProxy
    async with OpenAIStandIn(
        [reply("at last", until=lambda: proxy.serving.metrics.pings._value.get() >= 2)]
    ) as backend:
        proxy = await start(backend.url, commit_s=0.05, ping_s=0.05)
        answer = await proxy.ask()
        events = grammar.events(answer.content)
        assert grammar.violations(answer.content) == []
        assert [name for name, _ in events[:3]] == ["message_start", "ping", "ping"]
        assert await proxy.metric("anyclaude_pings_total") >= 2


async def test_a_refusal_after_the_start_cuts_the_stream(start: StartProxy) -> None:
    begun = asyncio.Event()
    async with OpenAIStandIn([Refusal(500, "broken", until=begun.is_set)]) as backend:
        proxy = await start(backend.url, commit_s=0.05, ping_s=5)
        with pytest.raises(httpx.RemoteProtocolError):
            async with proxy.http.stream("POST", "/v1/messages", json=ASK) as answer:
                begun.set()
                await answer.aread()


@pytest.mark.parametrize("stream", [True, False])
async def test_decoding_stops_soon_after_the_client_left(start: StartProxy, stream: bool) -> None:
    async with OpenAIStandIn([reply("on and on ", endless=True, gap_s=0.01)]) as backend:
        proxy = await start(backend.url)
        async with proxy.http.stream("POST", "/v1/messages", json=ASK | {"stream": True}) as answer:
            async for _ in answer.aiter_bytes():
                break
        await wait_until_async(lambda: backend.chats[0].client_gone_s is not None, "the backend is let go")
        await wait_until_async(lambda: proxy.serving.metrics.active._value.get() == 0, "the request is over")
        assert await proxy.metric("anyclaude_client_disconnects_total") == 1


async def leave_during_prefill(proxy: Any, backend: OpenAIStandIn, **changes: Any) -> None:
    """Ask, and hang up while the backend is silent."""
    host, port = httpx.URL(proxy.url).host, httpx.URL(proxy.url).port
    asked = len(backend.chats)
    _, writer = await asyncio.open_connection(host, port)
    body = json.dumps(ASK | changes).encode()
    writer.write(f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await wait_until_async(lambda: len(backend.chats) > asked, "the backend is asked")
    writer.close()


async def test_a_retry_takes_over_the_prefill_its_client_left(start: StartProxy) -> None:
    proxy: RunningProxy

    def joined() -> bool:
        return bool(proxy.serving.metrics.retry_grace.labels("joined")._value.get())

    turns = [reply("from the one prefill", until=joined), reply("from a second one")]
    async with OpenAIStandIn(turns, profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "30000"})
        await leave_during_prefill(proxy, backend)
        await wait_until_async(lambda: bool(proxy.serving.joins._held), "the prefill is held")
        answer = await proxy.ask(max_tokens=64000)
        assert "from the one prefill" in said(answer)
        assert grammar.violations(answer.content) == []
        assert len(backend.chats) == 1
        outcomes = {o["labels"]["outcome"]: o["value"] for o in await proxy.metric("anyclaude_retry_grace_total")}
        assert outcomes == {"held": 1.0, "joined": 1.0}


async def test_another_request_does_not_take_it_over(start: StartProxy) -> None:
    backend: OpenAIStandIn
    turns = [reply("first", until=lambda: len(backend.chats) == 2), reply("second")]
    async with OpenAIStandIn(turns, profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "5000"})
        await leave_during_prefill(proxy, backend)
        await wait_until_async(lambda: proxy.serving.joins._held, "the prefill is held")
        answer = await proxy.ask(messages=[{"role": "user", "content": "Something else"}])
        assert "second" in said(answer) and len(backend.chats) == 2


async def test_a_prefill_nobody_comes_back_for_is_cancelled(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("never", silence_s=30)], profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "100"})
        await leave_during_prefill(proxy, backend)
        await wait_until_async(lambda: backend.chats[0].client_gone_s is not None, "the backend is let go")
        outcomes = {o["labels"]["outcome"]: o["value"] for o in await proxy.metric("anyclaude_retry_grace_total")}
        assert outcomes == {"held": 1.0, "cancelled": 1.0}


async def test_a_backend_that_keeps_its_prefill_is_let_go_at_once(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("never", silence_s=30)], profile="llama.cpp") as backend:
        proxy = await start(backend.url, env={"ANYCLAUDE_RETRY_GRACE": "20000"})
        await leave_during_prefill(proxy, backend)
        await wait_until_async(lambda: backend.chats[0].client_gone_s is not None, "the backend is let go")


async def test_counting_generates_nothing_and_names_its_method(start: StartProxy) -> None:
    async with OpenAIStandIn([], profile="llama.cpp") as exact, OpenAIStandIn([], profile="ollama") as without:
        asked = {key: value for key, value in ASK.items() if key not in ("max_tokens", "stream")}
        for backend, method in ((exact, "backend"), (without, "characters")):
            proxy = await start(backend.url)
            answer = await proxy.http.post("/v1/messages/count_tokens?beta=true", json=asked)
            assert answer.status_code == 200 and answer.json()["input_tokens"] > 0
            assert answer.headers["x-anyclaude-count"].startswith(method)
            assert backend.chats == []


async def test_the_estimate_learns_from_what_the_backend_reports(start: StartProxy) -> None:
    text = "some words of a prompt " * 200
    turns = [reply("ok", prompt_tokens=3000), reply("ok", prompt_tokens=3000)]
    async with OpenAIStandIn(turns) as backend:
        proxy = await start(backend.url)
        starts = []
        for _ in range(2):
            answer = await proxy.ask(messages=[{"role": "user", "content": text}])
            starts.append(grammar.events(answer.content)[0][1]["message"]["usage"]["input_tokens"])
        assert abs(starts[1] - 3000) < abs(starts[0] - 3000)
        assert abs(starts[1] - 3000) < 60


async def test_background_requests_go_to_the_small_model(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("title"), reply("answer")], profile="openrouter") as backend:
        env = {"OPENROUTER_BASE_URL": f"{backend.url}/v1", "OPENROUTER_API_KEY": OpenRouter.key}
        env["ANYCLAUDE_SMALL_MODEL"] = "z-ai/small"
        flags = {"mode": "openrouter", "model": "z-ai/glm-4.6", "record": False}
        proxy = await start(env=env, flags=flags)
        await proxy.ask(model="claude-haiku-4-5")
        await proxy.ask(model="claude-opus-5-5")
        assert [chat.json["model"] for chat in backend.chats] == ["z-ai/small", "z-ai/glm-4.6"]


async def test_a_compressed_request_body_is_read(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("unpacked")]) as backend:
        proxy = await start(backend.url)
        body = gzip.compress(json.dumps(ASK).encode())
        answer = await proxy.http.post("/v1/messages", content=body, headers={"content-encoding": "gzip"})
        assert "unpacked" in said(answer)
