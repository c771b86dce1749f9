"""The stand-ins are what the official SDKs take for the real servers, and their faults are the faults they promise."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator

import anthropic
import httpx
import openai
import pytest
from anthropic.types import MessageParam, TextBlock, ToolParam, ToolUseBlock
from openai.types.chat import ChatCompletionMessageParam

from tests.standins import conversation, grammar
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import JsonObject, StandIn, running, wait_until, wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import PROFILES, LlamaCpp, LmStudio, MlxLm, OpenRouter, Vllm
from tests.standins.script import (
    CleanEnd,
    Cut,
    Place,
    Refusal,
    Reply,
    StreamError,
    Text,
    Thinking,
    ToolCall,
    Turn,
    reply,
)
from tests.standins.search import FOUND, SearchStandIn, Service
from tests.standins.tap import Tap

HELLO: list[MessageParam] = [{"role": "user", "content": "hello"}]
CHAT: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
READ_TOOL: ToolParam = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {}}}
CALL = ToolCall("Read", {"file_path": "/tmp/ä b.txt", "limit": 3})
EVERYTHING = reply(
    Thinking("let me see what there is"), "I shall read the file.", CALL, ToolCall("Bash", {"command": "ls"})
)
TALK = reply("one two three four five six")
MODEL = "claude-test-1"


opened: list[anthropic.AsyncAnthropic | openai.AsyncOpenAI] = []


@pytest.fixture(autouse=True)
async def _clients_are_closed() -> AsyncIterator[None]:
    yield
    while opened:
        await opened.pop().close()


def claude(server: StandIn, **options: int) -> anthropic.AsyncAnthropic:
    retries = options.get("max_retries", 0)
    client = anthropic.AsyncAnthropic(base_url=server.url, api_key="sk-ant-test", max_retries=retries)
    opened.append(client)
    return client


def chat(server: StandIn, key: str = "none") -> openai.AsyncOpenAI:
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
    opened.append(client)
    return client


# -- Messages API ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [None, 1, 7])
async def test_the_anthropic_sdk_reads_a_stream_of_every_kind_of_block(piece_bytes: int | None) -> None:
    async with (
        AnthropicStandIn([EVERYTHING], piece_bytes=piece_bytes) as server,
        claude(server).messages.stream(model=MODEL, max_tokens=99, messages=HELLO) as stream,
    ):
        message = await stream.get_final_message()
    kinds = [block.type for block in message.content]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert isinstance(message.content[2], ToolUseBlock)
    assert message.content[2].input == CALL.input
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 0
    assert grammar.violations(bytes(server.messages[0].sent)) == []


async def test_the_anthropic_sdk_reads_a_whole_message() -> None:
    async with AnthropicStandIn([EVERYTHING]) as server:
        message = await claude(server).messages.create(model=MODEL, max_tokens=99, messages=HELLO, tools=[READ_TOOL])
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.model == MODEL


async def test_counting_models_and_probes() -> None:
    async with AnthropicStandIn() as server:
        client = claude(server)
        counted = await client.messages.count_tokens(model=MODEL, messages=HELLO)
        models = [model.id async for model in await client.models.list()]
        async with httpx.AsyncClient() as plain:
            root = await plain.head(server.url + "/")
            refused = await plain.post(server.url + "/v1/messages", json={})
    assert counted.input_tokens > 0
    assert models == list(server.models)
    assert root.status_code == 200
    assert refused.status_code == 401


async def test_an_error_carries_the_body_and_the_headers_of_the_real_one() -> None:
    refusal = Refusal(529, "Overloaded", headers=(("retry-after", "1"), ("x-should-retry", "true")))
    async with AnthropicStandIn([refusal]) as server:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await claude(server).messages.create(model=MODEL, max_tokens=9, messages=HELLO)
    assert caught.value.status_code == 529
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": caught.value.response.headers["request-id"],
    }
    assert caught.value.response.headers["retry-after"] == "1"


async def test_the_request_is_recorded_as_it_came() -> None:
    body = b'{"model":"m","max_tokens":1,  "messages":[{"role":"user","content":"\\u00e4"}]}'
    async with AnthropicStandIn([TALK]) as server, httpx.AsyncClient() as plain:
        await plain.post(f"{server.url}/v1/messages?beta=true", content=body, headers={"X-Api-Key": "k", "X-Odd": "1"})
    (exchange,) = server.exchanges
    assert (exchange.path, exchange.query) == ("/v1/messages", "beta=true")
    assert exchange.body == body
    assert ("X-Odd", "1") in exchange.headers


async def test_a_chunked_request_body_is_read() -> None:
    async def body() -> object:
        yield b'{"model":"m","messages":'
        yield b'[{"role":"user","content":"hello"}]}'

    async with AnthropicStandIn([TALK]) as server, httpx.AsyncClient() as plain:
        answer = await plain.post(f"{server.url}/v1/messages", content=body(), headers={"X-Api-Key": "k"})  # type: ignore[arg-type]  # httpx takes any async generator
    assert answer.json()["content"][0]["text"] == "one two three four five six"


async def test_what_is_recorded_as_sent_is_what_arrived() -> None:
    async with AnthropicStandIn([EVERYTHING], gzip=True, piece_bytes=13) as server, httpx.AsyncClient() as plain:
        request = {"model": "m", "stream": True, "messages": HELLO}
        headers = {"x-api-key": "k", "accept-encoding": "gzip"}
        async with plain.stream("POST", f"{server.url}/v1/messages", json=request, headers=headers) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert raw == bytes(server.messages[0].sent)
    assert grammar.violations(gzip.decompress(raw)) == []
    assert len(grammar.events(gzip.decompress(raw))) > 10


PLACES: tuple[Place, ...] = ("text", "thinking", "tool", "end", "last")


@pytest.mark.parametrize("place", PLACES)
async def test_a_cut_is_seen_as_a_broken_connection(place: Place) -> None:
    turn = Reply(EVERYTHING.parts, fault=Cut(place))
    async with AnthropicStandIn([turn]) as server, httpx.AsyncClient() as plain:
        with pytest.raises(httpx.RemoteProtocolError):
            await plain.post(
                server.url + "/v1/messages", json={"model": "m", "stream": True}, headers={"x-api-key": "k"}
            )
    seen = [name for name, _ in grammar.events(bytes(server.messages[0].sent))]
    assert "message_stop" not in seen
    assert ("message_delta" in seen) == (place == "last")
    assert grammar.violations(bytes(server.messages[0].sent)) == []


async def test_a_clean_end_is_complete_as_http_and_unfinished_as_a_message() -> None:
    turn = Reply(EVERYTHING.parts, fault=CleanEnd("tool"))
    async with AnthropicStandIn([turn]) as server, httpx.AsyncClient() as plain:
        answer = await plain.post(
            server.url + "/v1/messages", json={"model": "m", "stream": True}, headers={"x-api-key": "k"}
        )
    seen = [name for name, _ in grammar.events(answer.content)]
    assert seen[0] == "message_start" and "message_stop" not in seen


async def test_an_error_event_reaches_the_sdk_as_an_error() -> None:
    async with AnthropicStandIn([Reply(TALK.parts, fault=StreamError("text"))]) as server:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            async with claude(server).messages.stream(model=MODEL, max_tokens=9, messages=HELLO) as stream:
                await stream.get_final_message()


async def test_a_used_up_script_is_a_violation() -> None:
    async with AnthropicStandIn([]) as server:
        with pytest.raises(anthropic.InternalServerError):
            await claude(server).messages.create(model=MODEL, max_tokens=9, messages=HELLO)
    assert server.violations == ["a request came after the last scripted turn"]


# -- disconnects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["anthropic", "openai", "mlx-lm"])
async def test_the_moment_of_a_disconnect_is_recorded(dialect: str) -> None:
    turn = reply("never ending ", endless=True)
    server: AnthropicStandIn | OpenAIStandIn
    server = AnthropicStandIn([turn]) if dialect == "anthropic" else OpenAIStandIn([turn], profile=dialect)
    path = "/v1/messages" if dialect == "anthropic" else "/v1/chat/completions"
    request = {"model": "default_model", "stream": True, "max_tokens": 9, "messages": HELLO}
    async with server, httpx.AsyncClient() as plain:
        async with plain.stream("POST", server.url + path, json=request, headers={"x-api-key": "k"}) as answer:
            read = answer.aiter_bytes()
            for _ in range(20):
                await anext(read)
            left_s = time.monotonic()
        exchange = server.posts(path)[0]
        await wait_until_async(lambda: exchange.client_gone_s is not None, "the stand-in sees the client leave")
    assert exchange.client_gone_s is not None and exchange.client_gone_s >= left_s
    assert exchange.ended_s is not None


async def test_a_disconnect_during_silence_is_seen_at_once() -> None:
    async with AnthropicStandIn([Reply((Text("late"),), silence_s=60)]) as server:
        with pytest.raises(httpx.ReadTimeout):
            async with httpx.AsyncClient(timeout=httpx.Timeout(60, read=0.2)) as plain:
                await plain.post(
                    server.url + "/v1/messages", json={"model": "m", "stream": True}, headers={"x-api-key": "k"}
                )
        await wait_until_async(
            lambda: bool(server.messages) and server.messages[0].client_gone_s is not None, "the disconnect"
        )


# -- chat completions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [None, 1])
@pytest.mark.parametrize("name", PROFILES)
async def test_the_openai_sdk_reads_every_profile_as_a_stream(name: str, piece_bytes: int | None) -> None:
    async with OpenAIStandIn([EVERYTHING], profile=name, piece_bytes=piece_bytes) as server:
        client = chat(server, OpenRouter.key)
        stream = await client.chat.completions.create(
            model=server.model, max_tokens=99, messages=CHAT, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    assert text.endswith("I shall read the file.")
    calls: dict[int, str] = {}
    for choice in choices:
        for call in choice.delta.tool_calls or ():
            assert call.function is not None
            calls[call.index] = calls.get(call.index, "") + (call.function.arguments or "")
    assert [json.loads(a) for a in calls.values()] == [CALL.input, {"command": "ls"}]
    stops = [choice.finish_reason for choice in choices if choice.finish_reason]
    assert stops == ["stop" if name == "ollama" else "tool_calls"]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == 1 and usages[0].prompt_tokens > 0
    assert server.violations == []


@pytest.mark.parametrize("name", PROFILES)
async def test_the_openai_sdk_reads_every_profile_as_one_answer(name: str) -> None:
    async with OpenAIStandIn([EVERYTHING], profile=name) as server:
        answer = await chat(server, OpenRouter.key).chat.completions.create(
            model=server.model, max_tokens=99, messages=CHAT
        )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [json.loads(c.function.arguments) for c in calls if c.type == "function"] == [CALL.input, {"command": "ls"}]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("mlx-lm", "reasoning"),
        ("ollama", "reasoning"),
        ("openrouter", "reasoning"),
        ("vllm", "reasoning_content"),
        ("llama.cpp", "reasoning_content"),
        ("lmstudio", "reasoning_content"),
    ],
)
async def test_reasoning_comes_in_the_field_of_the_server(name: str, field: str) -> None:
    async with OpenAIStandIn([EVERYTHING], profile=name) as server:
        chunks = await raw_chat(server)
    thought = "".join(c["delta"].get(field, "") for chunk in chunks for c in chunk["choices"])
    assert thought == "let me see what there is"


async def raw_chat(server: OpenAIStandIn, **fields: object) -> list[JsonObject]:
    request = {"model": server.model, "stream": True, "max_tokens": 99, "messages": CHAT, **fields}
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {OpenRouter.key}"}) as plain:
        answer = await plain.post(f"{server.url}/v1/chat/completions", json=request)
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


async def test_mlx_lm_keeps_its_oddities() -> None:
    async with OpenAIStandIn([TALK, reply(ToolCall("Read", {}, raw_arguments="{"))], profile="mlx-lm") as server:
        async with httpx.AsyncClient() as plain:
            url = f"{server.url}/v1/chat/completions"
            answer = await plain.post(url, json={"max_tokens": 9, "stream": True, "messages": CHAT})
            models = await plain.get(f"{server.url}/v1/models")
            queried = await plain.post(url + "?beta=true", json={"max_tokens": 9, "messages": CHAT})
            unknown = await plain.post(url, json={"model": MODEL, "max_tokens": 9, "messages": CHAT})
            image = {"role": "user", "content": [{"type": "image_url"}]}
            refused = await plain.post(url, json={"max_tokens": 9, "messages": [image]})
        dropped = await raw_chat(server)
    assert answer.http_version == "HTTP/1.0"
    assert answer.text.startswith(": keepalive ") and answer.text.endswith("data: [DONE]\n\n")
    assert "usage" not in answer.text
    assert models.status_code == 200 and models.content == b""
    assert (queried.status_code, unknown.status_code, refused.status_code) == (404, 404, 404)
    assert isinstance(refused.json()["error"], str)
    assert server.violations == [f"model {MODEL!r} would be downloaded from the hub"]
    assert [c["finish_reason"] for chunk in dropped for c in chunk["choices"]] == ["tool_calls"]


async def test_windows_are_found_where_each_server_tells_them() -> None:
    async def get(server: OpenAIStandIn, path: str, body: object = None) -> JsonObject:
        async with server, httpx.AsyncClient() as plain:
            answer = await (plain.get(server.url + path) if body is None else plain.post(server.url + path, json=body))
        value: JsonObject = answer.json()
        return value

    props = await get(OpenAIStandIn(profile=LlamaCpp(window_tokens=16384)), "/props")
    assert props["default_generation_settings"] == {"n_ctx": 16384}
    listed = await get(OpenAIStandIn(profile=Vllm(window_tokens=16384)), "/v1/models")
    assert "'max_model_len': 16384" in str(listed)
    counted = await get(OpenAIStandIn(profile="vllm"), "/tokenize", {"messages": CHAT})
    assert counted["count"] == len(counted["tokens"])
    running_models = await get(OpenAIStandIn(profile="ollama"), "/api/ps")
    assert "'context_length': 4096" in str(running_models)
    studio = await get(OpenAIStandIn(profile=LmStudio(window_tokens=8192)), "/api/v0/models")
    assert "'loaded_context_length': 8192" in str(studio)
    assert await get(OpenAIStandIn(profile="lmstudio"), "/nothing") == {
        "error": "Unexpected endpoint or method. (GET /nothing)"
    }


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        (LlamaCpp(window_tokens=100), "exceed_context_size_error"),
        (Vllm(window_tokens=100), "maximum context length is 100 tokens"),
        (LmStudio(window_tokens=100), "Trying to keep the first"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_an_overlong_prompt_is_refused_in_the_words_of_the_server(
    profile: LlamaCpp | Vllm | LmStudio, sentence: str
) -> None:
    async with OpenAIStandIn([TALK], profile=profile) as server:
        with pytest.raises(openai.BadRequestError) as caught:
            await chat(server).chat.completions.create(
                model=server.model, messages=[{"role": "user", "content": "x" * 1000}]
            )
    assert sentence in caught.value.response.text


async def test_llama_cpp_refuses_everything_while_it_loads() -> None:
    llama = LlamaCpp()
    llama.loading = True
    server = OpenAIStandIn([TALK], profile=llama)
    async with server, httpx.AsyncClient() as plain:
        health = await plain.get(server.url + "/health")
        with pytest.raises(openai.InternalServerError, match="Loading model"):
            await chat(server).chat.completions.create(model=server.model, messages=CHAT)
    assert health.status_code == 503


async def test_openrouter_fails_in_mid_stream_with_an_error_chunk() -> None:
    failing = Reply(TALK.parts, fault=StreamError("text", message="Provider returned error", code=502))
    async with OpenAIStandIn([failing], profile="openrouter") as server:
        chunks = await raw_chat(server)
        with pytest.raises(openai.AuthenticationError):
            await chat(server, "wrong").chat.completions.create(model=server.model, messages=CHAT)
    assert chunks[-1]["error"]["code"] == 502
    assert chunks[-1]["choices"][0]["finish_reason"] == "error"


async def test_cached_tokens_are_what_a_prefix_cache_would_find() -> None:
    async with OpenAIStandIn([TALK] * 3, profile="openai") as server:
        client = chat(server)
        talk: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there " * 40}]
        counts = []
        for tail in ("first", "second"):
            talk.append({"role": "user", "content": tail})
            answer = await client.chat.completions.create(model="m", messages=talk)
            assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
            counts.append((answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens))
        answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "other"}])
    assert counts[0][1] == 0
    assert counts[1][1] == counts[0][0]
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    assert (answer.usage.prompt_tokens_details.cached_tokens or 0) < 20


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([{"role": "tool", "tool_call_id": "x", "content": "r"}], "answers no call"),
        (
            [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}],
            "no tool message",
        ),
        (
            [
                {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "r"},
            ],
            "no JSON text",
        ),
    ],
)
async def test_a_broken_history_is_a_violation(messages: list[dict[str, object]], complaint: str) -> None:
    async with OpenAIStandIn([TALK]) as server:
        await raw_chat(server, messages=messages)
    assert len(server.violations) == 1 and complaint in server.violations[0]


# -- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["searxng", "tavily", "brave"])
async def test_a_search_service_finds_its_list(service: Service) -> None:
    async with SearchStandIn(service) as server, httpx.AsyncClient() as plain:
        if service == "searxng":
            answer = await plain.get(f"{server.url}/search", params={"q": "io moon", "format": "json"})
            found = answer.json()["results"]
        elif service == "tavily":
            key = {"authorization": "Bearer test-key"}
            answer = await plain.post(f"{server.url}/search", json={"query": "io moon"}, headers=key)
            found = answer.json()["results"]
        else:
            key = {"x-subscription-token": "test-key"}
            answer = await plain.get(f"{server.url}/res/v1/web/search", params={"q": "io moon"}, headers=key)
            found = answer.json()["web"]["results"]
    assert [entry["url"] for entry in found] == [f.url for f in FOUND]
    assert server.queries == ["io moon"]


def test_a_stand_in_runs_beside_blocking_code() -> None:
    with running(AnthropicStandIn([reply("hi"), Reply((Text("later"),), silence_s=60)])) as server:
        client = anthropic.Anthropic(base_url=server.url, api_key="k", max_retries=0)
        message = client.messages.create(model=MODEL, max_tokens=9, messages=HELLO)
        assert isinstance(message.content[0], TextBlock) and message.content[0].text == "hi"
        with pytest.raises(anthropic.APITimeoutError):
            client.messages.create(model=MODEL, max_tokens=9, messages=HELLO, timeout=anthropic.Timeout(60, read=0.2))
        wait_until(lambda: [each.client_gone_s is None for each in server.messages] == [True, False], "the disconnect")


async def test_one_policy_reads_both_dialects() -> None:
    seen: list[conversation.Conversation] = []

    def policy(body: dict[str, object]) -> Turn:
        seen.append(conversation.read(body))
        return TALK

    history: list[MessageParam] = [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "Read", "input": {"limit": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "a line"}]},
    ]
    chat_history = [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "Read", "arguments": '{"limit": 1}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "a line"},
    ]
    chat_tool = {"type": "function", "function": {"name": "Read", "parameters": {}}}
    async with AnthropicStandIn(policy) as first, OpenAIStandIn(policy) as second:
        await claude(first).messages.create(model=MODEL, max_tokens=9, messages=history, tools=[READ_TOOL])
        await raw_chat(second, messages=chat_history, tools=[chat_tool])
    for talk in seen:
        assert talk.tools == ("Read",)
        assert talk.calls == (conversation.Call("c1", "Read", {"limit": 1}, "a line"),)
        assert talk.user_texts == ("read it",)


EVENT_START: JsonObject = {
    "type": "message_start",
    "message": dict.fromkeys(("id", "type", "role", "model", "stop_reason", "stop_sequence")),
}


@pytest.mark.parametrize(
    ("tail", "complaint"),
    [
        ([{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}], "no open block"),
        ([{"type": "content_block_start", "index": 1, "content_block": {"type": "text"}}], "expected 0"),
        ([{"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}] * 2, "inside another"),
        ([{"type": "message_stop"}], "without a message_delta"),
        ([{"type": "message_delta", "delta": {"stop_reason": "stop"}, "usage": {"output_tokens": 1}}], "'stop'"),
        ([{"type": "error", "error": {"type": "a", "message": "b"}}, {"type": "ping"}], "after the end"),
        (
            [
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "tool_use", "id": "a", "name": "b", "input": {}},
                },
                {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
            ],
            "no JSON object",
        ),
    ],
)
def test_the_grammar_names_what_is_wrong(tail: list[dict[str, object]], complaint: str) -> None:
    start = {**EVENT_START, "message": {**EVENT_START["message"], "content": [], "usage": {"input_tokens": 1}}}
    stream = b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in [start, *tail])
    found = grammar.violations(stream)
    assert len(found) == 1 and complaint in found[0], found


async def test_two_requests_share_a_connection_and_http10_does_not() -> None:
    for profile, connections in (("openai", 1), ("mlx-lm", 2)):
        async with OpenAIStandIn([TALK] * 2, profile=profile) as server, httpx.AsyncClient() as plain:
            for _ in range(2):
                body = {"model": server.model, "max_tokens": 9, "messages": CHAT}
                await plain.post(f"{server.url}/v1/chat/completions", json=body)
        assert server.connections_opened == connections
        await asyncio.sleep(0)


async def test_a_tap_passes_everything_on_and_reads_it_back() -> None:
    turns = [TALK, Reply(TALK.parts, fault=Cut("text")), TALK]
    async with AnthropicStandIn(turns, piece_bytes=5) as server, Tap(server.url) as tap:
        async with httpx.AsyncClient(headers={"x-api-key": "k"}) as plain:
            url = f"{tap.url}/v1/messages?beta=true"
            await plain.head(tap.url + "/")
            await plain.post(url, json={"model": "m", "messages": HELLO})
            with pytest.raises(httpx.RemoteProtocolError):
                await plain.post(url, json={"model": "m", "stream": True, "messages": HELLO})
            await plain.post(url, json={"model": "m", "stream": True, "messages": HELLO})
        seen = tap.passed
    assert [(p.method, p.complete, p.is_stream) for p in seen] == [
        ("HEAD", True, False),
        ("POST", True, False),
        ("POST", False, True),
        ("POST", True, True),
    ]
    for passed, exchange in zip(seen[1:], server.messages, strict=True):
        assert passed.target == "/v1/messages?beta=true"
        assert passed.request_body == exchange.body
        assert passed.request_headers == exchange.headers
        assert passed.body == bytes(exchange.sent)


async def test_a_tap_passes_a_disconnect_on() -> None:
    turn = reply("never ending ", endless=True)
    request = {"model": "m", "stream": True, "messages": HELLO}
    async with AnthropicStandIn([turn]) as server, Tap(server.url) as tap, httpx.AsyncClient() as plain:
        async with plain.stream("POST", f"{tap.url}/v1/messages", json=request, headers={"x-api-key": "k"}) as answer:
            await anext(answer.aiter_bytes())
        await wait_until_async(lambda: server.messages[0].client_gone_s is not None, "the disconnect")


def test_every_profile_has_a_name_of_its_own() -> None:
    assert PROFILES["mlx-lm"] is MlxLm and len(PROFILES) == 8
