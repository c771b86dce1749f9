"""The official SDK through the proxy as a process, and what its user sees when things go wrong."""

from __future__ import annotations

from dataclasses import replace

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam, TextBlock, ToolParam, ToolUseBlock

from tests.e2e.conftest import StartProxy
from tests.standins.http import DEADLINE_S, kept_port, running, wait_until
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import LlamaCpp, Vllm
from tests.standins.script import Refusal, Reply, Text, Thinking, ToolCall, reply
from tests.standins.search import SearchStandIn

MODEL = "anthropic-local/model"
HELLO: list[MessageParam] = [{"role": "user", "content": "hello"}]
TOOLS: list[ToolParam] = [
    {
        "name": "Read",
        "description": "Reads.",
        "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
    }
]
ANSWER = reply("I shall read it.", ToolCall("Read", {"path": "ä b"}))
PROFILES = ("mlx-lm", "llama.cpp", "ollama", "lmstudio", "vllm", "openai", "openrouter")


def sdk(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, auth_token="local", max_retries=0, timeout=DEADLINE_S)


@pytest.mark.parametrize("piece_bytes", [None, 1])
@pytest.mark.parametrize("name", PROFILES)
def test_stream_and_whole_message_say_the_same(name: str, piece_bytes: int | None, start_proxy: StartProxy) -> None:
    with running(OpenAIStandIn([ANSWER] * 2, profile=name, piece_bytes=piece_bytes)) as server:
        client = sdk(start_proxy(server).url)
        with client.messages.stream(model=MODEL, max_tokens=99, messages=HELLO, tools=TOOLS) as stream:
            streamed = stream.get_final_message()
        whole = client.messages.create(model=MODEL, max_tokens=99, messages=HELLO, tools=TOOLS)
    for message in (streamed, whole):
        text, call = message.content
        assert isinstance(text, TextBlock) and text.text == "I shall read it."
        assert isinstance(call, ToolUseBlock) and (call.name, call.input) == ("Read", {"path": "ä b"})
        assert message.stop_reason == "tool_use"
        assert message.model == MODEL
        assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > 0
        assert message.usage.output_tokens > 0
    assert server.violations == []


def test_thinking_comes_before_text(start_proxy: StartProxy) -> None:
    answer = reply(Thinking("I wonder about that."), "An answer.")
    with running(OpenAIStandIn([answer], profile="mlx-lm")) as server:
        client = sdk(start_proxy(server).url)
        with client.messages.stream(
            model=MODEL, max_tokens=2000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
        ) as stream:
            message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]


def test_counting_and_listing_ask_for_no_answer(start_proxy: StartProxy) -> None:
    with running(OpenAIStandIn([], profile=LlamaCpp(window_tokens=100_000))) as server:
        client = sdk(start_proxy(server).url)
        counted = client.messages.count_tokens(model=MODEL, messages=HELLO, tools=TOOLS)
        models = [model.id for model in client.models.list()]
        assert server.chats == []
    assert counted.input_tokens > 0
    assert models


def test_an_overlong_prompt_is_refused_in_the_words_the_client_knows(start_proxy: StartProxy) -> None:
    with running(OpenAIStandIn([ANSWER], profile=Vllm(window_tokens=1000))) as server:
        client = sdk(start_proxy(server).url)
        with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > \d+ maximum"):
            client.messages.create(model=MODEL, max_tokens=99, messages=[{"role": "user", "content": "word " * 8000}])


def test_a_backend_that_is_down_is_named_and_asked_again_later(start_proxy: StartProxy) -> None:
    with kept_port() as port:
        server = OpenAIStandIn([ANSWER], profile="mlx-lm", port=port)
        proxy = start_proxy(server)
        client = sdk(proxy.url)
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(model=MODEL, max_tokens=99, messages=HELLO, tools=TOOLS)
        assert caught.value.status_code == 529
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert server.url in str(caught.value)
        with running(server):
            message = client.messages.create(model=MODEL, max_tokens=99, messages=HELLO, tools=TOOLS)
    assert message.stop_reason == "tool_use"


def test_a_broken_request_is_refused_and_the_next_one_works(start_proxy: StartProxy) -> None:
    with running(OpenAIStandIn([ANSWER], profile="mlx-lm")) as server:
        proxy = start_proxy(server)
        broken = httpx.post(
            f"{proxy.url}/v1/messages", content=b'{"model": ', headers={"x-api-key": "local"}, timeout=DEADLINE_S
        )
        assert broken.status_code == 400
        assert broken.json()["type"] == "error"
        assert broken.json()["error"]["type"] == "invalid_request_error"
        message = sdk(proxy.url).messages.create(model=MODEL, max_tokens=99, messages=HELLO, tools=TOOLS)
    assert message.stop_reason == "tool_use"


@pytest.mark.parametrize("name", ["openai", "mlx-lm", "openrouter"])
def test_decoding_stops_when_the_client_leaves(name: str, start_proxy: StartProxy) -> None:
    answer = Reply((Text("never ending "),), endless=True)
    with running(OpenAIStandIn([answer], profile=name)) as server:
        client = sdk(start_proxy(server).url)
        with client.messages.stream(model=MODEL, max_tokens=99, messages=HELLO) as stream:
            for _, _text in zip(range(5), stream.text_stream, strict=False):
                pass
        chat = server.chats[0]
        wait_until(lambda: chat.client_gone_s is not None, "the backend hears that the client left")


def test_silence_is_filled_with_pings(start_proxy: StartProxy) -> None:
    answer = replace(ANSWER, silence_s=21.0)
    with running(OpenAIStandIn([answer], profile="mlx-lm")) as server:
        proxy = start_proxy(server)
        with sdk(proxy.url).messages.stream(model=MODEL, max_tokens=99, messages=HELLO, tools=TOOLS) as stream:
            message = stream.get_final_message()
        body = proxy.messages[0].body
    assert message.stop_reason == "tool_use"
    assert b"event: ping" in body.split(b"event: content_block_start")[0]


def test_a_web_search_is_answered_in_the_shape_of_the_real_one(start_proxy: StartProxy) -> None:
    search = SearchStandIn("searxng")
    with running(search), running(OpenAIStandIn([reply("Io is hot.")] * 3, profile="mlx-lm")) as server:
        client = sdk(start_proxy(server, env={"SEARXNG_URL": search.url}).url)
        with client.messages.stream(
            model=MODEL,
            max_tokens=999,
            messages=[{"role": "user", "content": "Perform a web search for the query: why is Io hot"}],
            tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
        ) as stream:
            message = stream.get_final_message()
    kinds = [block.type for block in message.content]
    assert "server_tool_use" in kinds and "web_search_tool_result" in kinds
    assert message.usage.server_tool_use is not None and message.usage.server_tool_use.web_search_requests == 1
    assert search.queries


def test_a_refused_key_is_no_reason_to_try_again(start_proxy: StartProxy) -> None:
    refusal = Refusal(401, "No auth credentials found")
    with running(OpenAIStandIn([refusal], profile="openrouter")) as server:
        client = sdk(start_proxy(server).url)
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model=MODEL, max_tokens=99, messages=HELLO)
