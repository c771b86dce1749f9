"""One contract for every kind of server: the same requests, asked of a stand-in with that server's manners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any

import orjson
import pytest

from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.backends.openrouter import OpenRouterBackend
from anyclaude_lab.backends.probe import find_running, identify, split_base
from anyclaude_lab.backends.profiles import LOCAL_SERVERS, PROFILES
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendBusy,
    BackendFailed,
    BackendUnavailable,
    InvalidRequest,
    NotFound,
    PromptTooLong,
    RateLimited,
    SettingsError,
    StreamCut,
    Unauthenticated,
)
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.grammar import StreamGrammar
from tests.backends.calls import make_call, make_request, read_events
from tests.standins.http import kept_port, wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import PROFILES as MANNERS
from tests.standins.profiles import LlamaCpp, LmStudio, MlxLm, Ollama, OpenRouter, Profile, Vllm
from tests.standins.script import CleanEnd, Cut, Policy, Refusal, StreamError, Thinking, ToolCall, Turn, reply

KIND_OF = {"openai": "generic"}  # the stand-in's name of a server, where it differs from ours
SERVERS = sorted(MANNERS)
LOCAL = [p.kind for p in LOCAL_SERVERS]
WINDOWS = {"anyclaude": 8192, "llama.cpp": 8192, "ollama": 4096, "lmstudio": 4096, "vllm": 8192}
COUNTING = ["anyclaude", "llama.cpp", "vllm"]


def kind_of(server: str) -> str:
    return KIND_OF.get(server, server)


@asynccontextmanager
async def serving(
    server: str | Profile,
    turns: Sequence[Turn] | Policy = (),
    *,
    detect: bool = True,
    port: int = 0,
    **options: Any,
) -> AsyncIterator[tuple[OpenAIStandIn, OpenAIBackend]]:
    async with OpenAIStandIn(turns, profile=server, port=port) as standin:
        backend: OpenAIBackend
        if standin.profile.name == "openrouter":
            given = {"api_key": OpenRouter.key, "model": standin.model} | options
            backend = OpenRouterBackend(base_url=f"{standin.url}/v1", **given)
        else:
            pinned = None if detect else kind_of(standin.profile.name)
            backend = OpenAIBackend("node", f"{standin.url}/v1", server=pinned, **options)
        try:
            yield standin, backend
        finally:
            await backend.close()


async def ask(backend: OpenAIBackend, text: str = "hello", **fields: Any) -> list[Event]:
    request = make_request(text, **fields)
    return await read_events(await backend.send(request, make_call(request)))


def judged(events: list[Event]) -> dict[str, Any]:
    """The message the events tell, after the strict grammar found nothing wrong."""
    grammar = StreamGrammar()
    assert [complaint for event in events if (complaint := grammar.check(event))] == []
    assert grammar.finish(Ending.COMPLETE) is None
    return fold(events)


@pytest.mark.parametrize("server", SERVERS)
async def test_text(server: str) -> None:
    async with serving(server, [reply("Hëllo there", prompt_tokens=120, cached_tokens=100)]) as (standin, backend):
        request = make_request()
        answer = await backend.send(request, make_call(request))
        message = judged(await read_events(answer))
        assert message["content"] == [{"type": "text", "text": "Hëllo there"}]
        assert message["stop_reason"] == "end_turn"
        assert message["model"] == "claude-sonnet-4-5"
        assert message["id"] == "msg_req_1"
        assert answer.decoder is not None
        assert answer.decoder.usage.prompt_tokens == 120
        if server != "ollama":  # it does not report cached tokens
            assert answer.decoder.usage.cached_tokens == 100
        assert (answer.status, answer.backend, answer.model) == (200, backend.name, standin.model)
        assert standin.violations == []


@pytest.mark.parametrize("server", SERVERS)
async def test_a_tool_call_and_its_result(server: str) -> None:
    turns = [reply("Looking.", ToolCall("Bash", {"command": "ls -la"})), reply("Two files.")]
    async with serving(server, turns) as (standin, backend):
        first = judged(await ask(backend))
        call = first["content"][-1]
        assert (call["name"], call["input"], first["stop_reason"]) == ("Bash", {"command": "ls -la"}, "tool_use")
        history = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "a\nb"}]},
        ]
        second = judged(await ask(backend, messages=history))
        assert second["content"] == [{"type": "text", "text": "Two files."}]
        assert standin.violations == []


@pytest.mark.parametrize("server", SERVERS)
async def test_reasoning_is_shown_only_where_it_was_asked_for(server: str) -> None:
    turns = [reply(Thinking("Let me see."), "Done.")] * 2
    async with serving(server, turns) as (_, backend):
        shown = judged(await ask(backend, thinking={"type": "adaptive"}))
        hidden = judged(await ask(backend))
        assert [b["type"] for b in shown["content"]] == ["thinking", "text"]
        assert [b["type"] for b in hidden["content"]] == ["text"]


@pytest.mark.parametrize("server", SERVERS)
async def test_what_the_server_is_sent(server: str) -> None:
    async with serving(server, [reply("ok")]) as (standin, backend):
        await ask(backend)
        seen = standin.chats[0]
        assert seen.json["model"] == standin.model
        assert b"claude-sonnet" not in seen.body
        assert seen.json["stream"] is True
        assert seen.header("content-length") == str(len(seen.body))
        assert (seen.path, seen.query) == ("/v1/chat/completions", "")
        assert not any(name.lower().startswith(("x-claude", "anthropic-", "x-stainless")) for name, _ in seen.headers)


async def test_our_engine_is_told_the_conversation_and_whether_a_call_stands_beside_it() -> None:
    async with serving("anyclaude", [reply("ok"), reply("ok")]) as (standin, backend):
        request = make_request()
        for background in (False, True):
            await read_events(await backend.send(request, replace(make_call(request), background=background)))
        headers = [(seen.header("x-anyclaude-lane"), seen.header("x-anyclaude-side")) for seen in standin.chats]
        lane = make_call(request).lane
        assert headers == [(lane, "0"), (lane, "1")]


@pytest.mark.parametrize("server", LOCAL)
async def test_the_kind_is_found_out_and_the_model_with_it(server: str) -> None:
    async with serving(server, [reply("ok")]) as (standin, backend):
        assert backend.status()["server"] is None
        await ask(backend)
        assert backend.status() == {
            "name": "node",
            "url": f"{standin.url}/v1",
            "state": "up",
            "server": server,
            "model": standin.model,
        }
        assert backend.loses_prefill_on_abort is PROFILES[server].loses_prefill_on_abort


@pytest.mark.parametrize("server", SERVERS)
async def test_what_is_known_is_not_asked_again(server: str) -> None:
    async with serving(server, [reply("one"), reply("two")]) as (standin, backend):
        await ask(backend)
        before = len(standin.exchanges)
        await ask(backend)
        assert len(standin.exchanges) == before + 1


@pytest.mark.parametrize("server", [*LOCAL, "openai"])
async def test_identify(server: str) -> None:
    async with serving(server) as (_, backend):
        profile = await identify(backend._ask)
        assert profile is not None
        assert profile.kind == kind_of(server)


async def test_find_running_names_what_listens_and_skips_what_is_something_else() -> None:
    class WebPage(Profile):
        async def other(self, exchange: Any, responder: Any, count: int) -> bool:
            await responder.full(200, b"<html>hello</html>", [("content-type", "text/html")])
            return True

    async with (
        OpenAIStandIn(profile="llama.cpp") as llama,
        OpenAIStandIn(profile=WebPage()) as page,
        OpenAIStandIn(profile="openai") as other,
        OpenAIStandIn(profile="ollama") as ollama,
    ):
        found = await find_running([llama.port, page.port, other.port, ollama.port, 9])
        assert [(f.kind, f.url, f.models, f.window_tokens) for f in found] == [
            ("llama.cpp", f"{llama.url}/v1", (llama.model,), 8192),
            ("generic", f"{other.url}/v1", (other.model,), None),
            ("ollama", f"{ollama.url}/v1", (ollama.model,), 4096),
        ]
        assert [f.label for f in found] == ["llama.cpp", "an OpenAI-compatible server", "Ollama"]


@pytest.mark.parametrize("server", SERVERS)
async def test_window(server: str) -> None:
    async with serving(server) as (_, backend):
        assert await backend.window_tokens() == WINDOWS.get(server)


@pytest.mark.parametrize("server", SERVERS)
async def test_count_without_a_generation(server: str) -> None:
    async with serving(server) as (standin, backend):
        short, long = await backend.count(make_request("a")), await backend.count(make_request("a" * 4000))
        assert standin.chats == []
        if server in COUNTING:
            assert short is not None
            assert long is not None
            assert long >= short + 900
        else:
            assert (short, long) == (None, None)


@pytest.mark.parametrize("server", SERVERS)
async def test_health(server: str) -> None:
    async with serving(server) as (_, backend):
        assert await backend.health() is None
        assert backend.status()["state"] in ("up", "unknown")


@pytest.mark.parametrize("server", SERVERS)
async def test_nobody_there(server: str) -> None:
    async with serving(server, detect=False) as (_, backend):
        pass  # the stand-in is gone, the backend remains
    with pytest.raises(BackendUnavailable) as caught:
        await ask(backend)
    assert (caught.value.status, type(caught.value.retry_after_s)) == (529, int)
    assert PROFILES[kind_of(server)].start_hint in caught.value.message
    assert PROFILES[kind_of(server)].start_hint in str(await backend.health())
    assert await backend.count(make_request()) is None
    assert backend.status()["state"] == "down"
    await backend.close()


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthenticated), (429, RateLimited), (503, BackendUnavailable), (500, BackendFailed)],
)
async def test_refusals(server: str, status: int, kind: type[AnyclaudeError]) -> None:
    turns: list[Turn] = [Refusal(status, "these words", headers=(("retry-after", "7"),)), reply("fine")]
    async with serving(server, turns) as (_, backend):
        with pytest.raises(kind, match="these words") as caught:
            await ask(backend)
        if status in (429, 503):
            assert caught.value.retry_after_s == 7
        assert judged(await ask(backend))["content"][0]["text"] == "fine"


@pytest.mark.parametrize("server", ["llama.cpp", "lmstudio"])
async def test_an_overflow_is_told_in_the_words_the_client_knows(server: str) -> None:
    async with serving(server) as (_, backend):
        with pytest.raises(PromptTooLong, match=rf"prompt is too long: \d+ tokens > {WINDOWS[server]} maximum"):
            await ask(backend, "word " * 10_000)


async def test_an_overflow_by_the_answers_room_is_told_with_both_numbers() -> None:
    async with serving("vllm") as (_, backend):
        with pytest.raises(InvalidRequest, match=r"exceed context limit: \d+ \+ 8000 > 8192"):
            await ask(backend, "word " * 1000, max_tokens=8000)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_cut_in_the_text_is_cut(server: str) -> None:
    async with serving(server, [reply("a text that will be cut short", fault=Cut("text"))]) as (standin, backend):
        request = make_request()
        answer = await backend.send(request, make_call(request))
        # HTTP/1.0 cannot tell a cut from an end: there only the dialect can.
        with nullcontext() if standin.http10 else pytest.raises(StreamCut):
            await read_events(answer)
        assert answer.decoder is not None
        assert answer.decoder.ending is Ending.CUT


@pytest.mark.parametrize("server", SERVERS)
async def test_an_end_without_a_finish_is_cut(server: str) -> None:
    async with serving(server, [reply("a text that just ends", fault=CleanEnd("text"))]) as (_, backend):
        request = make_request()
        answer = await backend.send(request, make_call(request))
        await read_events(answer)
        assert answer.decoder is not None
        assert answer.decoder.ending is Ending.CUT
        assert answer.decoder.failure is not None


@pytest.mark.parametrize("server", [s for s in SERVERS if s != "mlx-lm"])
async def test_an_error_inside_the_stream_ends_it(server: str) -> None:
    turns = [reply("some text", fault=StreamError("text", message="provider fell over"))]
    async with serving(server, turns) as (_, backend):
        request = make_request()
        answer = await backend.send(request, make_call(request))
        await read_events(answer)
        assert answer.decoder is not None
        assert answer.decoder.ending in (Ending.CUT, Ending.ERROR)
        assert answer.decoder.failure is not None
        if server not in ("llama.cpp",):  # names its field "error:", which is no field of server-sent events
            assert "provider fell over" in answer.decoder.failure.message


@pytest.mark.parametrize("server", SERVERS)
async def test_closing_stops_the_generation(server: str) -> None:
    async with serving(server, [reply("again and again", endless=True)]) as (standin, backend):
        request = make_request()
        answer = await backend.send(request, make_call(request))
        await anext(answer.body)
        await answer.close()
        await wait_until_async(lambda: standin.chats[0].client_gone_s is not None, "the hang-up")


@pytest.mark.parametrize("server", SERVERS)
async def test_cancelling_stops_the_prefill(server: str) -> None:
    turns = [Refusal(500, after_s=30)]
    async with serving(server, turns) as (standin, backend):
        request = make_request()
        sending = asyncio.create_task(backend.send(request, make_call(request)))
        await wait_until_async(lambda: bool(standin.chats), "the request")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await wait_until_async(lambda: standin.chats[0].client_gone_s is not None, "the hang-up")


@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_that_does_not_stream_is_read_too(server: str) -> None:
    whole = {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
    async with serving(server, [Refusal(200, body=orjson.dumps(whole))]) as (_, backend):
        message = judged(await ask(backend))
        assert message["content"] == [{"type": "text", "text": "whole"}]
        assert message["usage"]["input_tokens"] == 9


# -- what only some do ---------------------------------------------------------------------------------------------


async def test_a_loading_llama_cpp_is_recognised_and_waited_for() -> None:
    profile = LlamaCpp()
    profile.loading = True
    async with serving(profile, [reply("awake")]) as (_, backend):
        with pytest.raises(BackendUnavailable, match="not ready: Loading model") as caught:
            await ask(backend)
        assert isinstance(caught.value.retry_after_s, int)
        assert "Loading model" in str(await backend.health())
        assert await backend.window_tokens() is None
        profile.loading = False
        assert judged(await ask(backend))["content"][0]["text"] == "awake"
        assert await backend.window_tokens() == 8192


async def test_prefill_progress_of_mlx_lm_is_seen() -> None:
    async with serving("mlx-lm", [reply("ok")]) as (_, backend):
        request = make_request()
        answer = await backend.send(request, make_call(request))
        await read_events(answer)
        assert answer.decoder is not None
        assert answer.decoder.progress is not None
        assert answer.decoder.progress[0] == answer.decoder.progress[1] > 0


@pytest.mark.parametrize("wanted", ["some/hub-model", "claude-sonnet-4-5", "current-model", "/models/folder"])
async def test_mlx_lm_is_never_asked_for_a_model_it_would_have_to_load(wanted: str) -> None:
    async with serving("mlx-lm", [reply("ok")] * 2, model=wanted, small_model="tiny/model") as (standin, backend):
        await ask(backend)
        request = make_request()
        answer = await backend.send(request, make_call(request, background=True))
        await read_events(answer)
        assert [chat.json["model"] for chat in standin.chats] == ["default_model", "default_model"]
        assert any("one model at a time" in note for note in answer.notes)
        assert standin.violations == []


async def test_mlx_lm_is_asked_for_a_wanted_model_that_is_there() -> None:
    profile = MlxLm("mlx-community/Qwen3-8B-4bit")
    profile.hub_cache = True
    async with serving(profile, [reply("ok")], model="mlx-community/Qwen3-8B-4bit") as (standin, backend):
        await ask(backend)
        assert standin.chats[0].json["model"] == "mlx-community/Qwen3-8B-4bit"


@pytest.mark.parametrize(
    "config", [{"max_position_embeddings": 16384}, {"text_config": {"max_position_embeddings": 16384}}]
)
async def test_the_window_of_mlx_lm_is_that_of_its_model_folder(config: dict[str, Any], tmp_path: Any) -> None:
    (tmp_path / "config.json").write_bytes(orjson.dumps(config))
    async with serving("mlx-lm", model_path=tmp_path, detect=False) as (_, backend):
        assert await backend.window_tokens() == 16384
    profile = MlxLm(str(tmp_path))
    profile.hub_cache = True  # the server lists the folder it was started with
    async with serving(profile) as (_, backend):
        assert await backend.window_tokens() == 16384
        assert backend.status()["model"] == "default_model"


async def test_the_window_of_a_hub_model_comes_from_the_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(b'{"max_position_embeddings": 40960}')
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    async with serving("mlx-lm", model_path="org/name", detect=False) as (_, backend):
        assert await backend.window_tokens() == 40960


async def test_background_requests_go_to_the_small_model() -> None:
    seen: list[str] = []

    def policy(body: dict[str, Any]) -> Turn:
        seen.append(body["model"])
        return reply("ok")

    async with serving("openai", policy, model="big", small_model="small") as (_, backend):
        for background in (False, True):
            request = make_request()
            await read_events(await backend.send(request, make_call(request, background=background)))
        assert seen == ["big", "small"]


async def test_an_unknown_server_is_not_asked_for_its_window_with_every_request() -> None:
    async with serving("openai") as (standin, backend):
        assert await backend.window_tokens() is None
        asked = len(standin.exchanges)
        assert await backend.window_tokens() is None
        assert len(standin.exchanges) == asked


async def test_the_window_follows_a_reloaded_model() -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock, profile = Clock(), Ollama()
    async with serving(profile, clock=clock) as (_, backend):
        assert await backend.window_tokens() == 4096
        profile.window_tokens = 32768
        assert await backend.window_tokens() == 4096
        clock.now += 31
        assert await backend.window_tokens() == 32768


async def test_ollama_before_the_model_is_loaded() -> None:
    class Unloaded(Ollama):
        parameters = ""

        async def other(self, exchange: Any, responder: Any, count: int) -> bool:
            if exchange.path == "/api/ps":
                await responder.full(200, {"models": []})
                return True
            if exchange.path == "/api/show":
                info = {"general.architecture": "qwen3", "qwen3.context_length": 40960}
                await responder.full(200, {"parameters": self.parameters, "model_info": info})
                return True
            return await super().other(exchange, responder, count)

    profile = Unloaded()
    async with serving(profile) as (_, backend):
        assert await backend.window_tokens() == 40960
    profile.parameters = 'stop                           "<|im_end|>"\nnum_ctx                        16384'
    async with serving(profile) as (_, backend):
        assert await backend.window_tokens() == 16384
        assert backend.status()["model"] == "qwen3:8b"


async def test_lm_studio_prefers_a_loaded_model_that_answers() -> None:
    class Full(LmStudio):
        async def other(self, exchange: Any, responder: Any, count: int) -> bool:
            if exchange.path != "/api/v0/models":
                return await super().other(exchange, responder, count)
            listed = [
                {"id": "embed", "type": "embeddings", "state": "loaded"},
                {"id": "cold", "type": "llm", "state": "not-loaded", "max_context_length": 131072},
                {"id": "warm", "type": "vlm", "state": "loaded", "loaded_context_length": 16384},
            ]
            await responder.full(200, {"object": "list", "data": listed})
            return True

    async with serving(Full(), [reply("ok")]) as (standin, backend):
        await ask(backend)
        assert standin.chats[0].json["model"] == "warm"
        assert await backend.window_tokens() == 16384


async def test_a_server_without_a_model_says_what_to_do() -> None:
    class Empty(Vllm):
        async def other(self, exchange: Any, responder: Any, count: int) -> bool:
            if exchange.path != "/v1/models":
                return await super().other(exchange, responder, count)
            await responder.full(200, {"object": "list", "data": []})
            return True

    async with serving(Empty(), detect=False) as (_, backend):
        with pytest.raises(NotFound, match="lists no model; load one there, or name one with --model"):
            await ask(backend)


@pytest.mark.parametrize(
    ("path", "says"), [("/health", "answers too slowly"), ("/v1/models", "did not answer within 2 s")]
)
async def test_a_server_too_busy_to_say_what_it_is_is_not_guessed(path: str, says: str) -> None:
    class Busy(MlxLm):
        async def other(self, exchange: Any, responder: Any, count: int) -> bool:
            if exchange.path == path:
                await responder.pause(30)
            return await super().other(exchange, responder, count)

    async with serving(Busy(), [reply("ok")]) as (standin, backend):
        with pytest.raises(BackendBusy, match=says) as caught:
            await ask(backend)
        assert isinstance(caught.value.retry_after_s, int)
        assert standin.chats == []


async def test_a_server_that_is_busy_keeps_what_is_known_of_it() -> None:
    class Busy(MlxLm):
        busy = False

        async def other(self, exchange: Any, responder: Any, count: int) -> bool:
            if self.busy:
                await responder.pause(30)
            return await super().other(exchange, responder, count)

    profile = Busy()
    async with serving(profile, [reply("one"), reply("two")]) as (_, backend):
        await ask(backend)
        profile.busy = True
        assert "may be busy" in str(await backend.health())
        assert judged(await ask(backend))["content"][0]["text"] == "two"


async def test_a_model_that_was_replaced_is_noticed() -> None:
    profile = Vllm()
    async with serving(profile, [reply("new")]) as (standin, backend):
        assert await backend.window_tokens() == 8192
        profile.model = "another/model"
        with pytest.raises(NotFound):
            await ask(backend)
        assert judged(await ask(backend))["content"][0]["text"] == "new"
        assert standin.chats[-1].json["model"] == "another/model"


async def test_another_server_at_the_same_address_is_noticed() -> None:
    with kept_port() as port:
        async with serving("ollama", [reply("one")], port=port) as (_, backend):
            await ask(backend)
        with pytest.raises(BackendUnavailable):
            await ask(backend)
        async with OpenAIStandIn([reply("two")], profile="llama.cpp", port=port) as second:
            assert judged(await ask(backend))["content"][0]["text"] == "two"
            assert backend.status()["server"] == "llama.cpp"
            assert await backend.window_tokens() == 8192
            assert second.violations == []
    await backend.close()


async def test_a_web_page_is_not_taken_for_an_answer() -> None:
    page = Refusal(200, headers=(("content-type", "text/html; charset=utf-8"),), body=b"<html>Hello</html>")
    async with serving("openai", [page]) as (_, backend):
        with pytest.raises(BackendFailed, match="web page") as caught:
            await ask(backend)
        assert "/v1" in str(caught.value.hint)


# -- OpenRouter ----------------------------------------------------------------------------------------------------


async def test_openrouter_routing_and_attribution() -> None:
    options: dict[str, Any] = {"providers": ("deepinfra", "z-ai"), "allow_fallbacks": False}
    options |= {"site_url": "https://me.example"}
    async with serving("openrouter", [reply("ok")], app_title="Mine", **options) as (standin, backend):
        await ask(backend)
        seen = standin.chats[0]
        assert seen.json["provider"] == {"order": ["deepinfra", "z-ai"], "allow_fallbacks": False}
        assert seen.json["usage"] == {"include": True}
        assert seen.header("authorization") == f"Bearer {OpenRouter.key}"
        assert (seen.header("http-referer"), seen.header("x-title")) == ("https://me.example", "Mine")


async def test_openrouter_without_routing_sends_none() -> None:
    async with serving("openrouter", [reply("ok")]) as (standin, backend):
        await ask(backend)
        assert "provider" not in standin.chats[0].json
        assert standin.chats[0].header("http-referer") is None


def test_openrouter_without_a_key_says_where_it_belongs() -> None:
    with pytest.raises(SettingsError, match="OPENROUTER_API_KEY"):
        OpenRouterBackend(api_key="", model="z-ai/glm-4.6")


async def test_an_address_where_openrouter_is_not_is_no_healthy_one() -> None:
    async with serving("vllm", detect=False) as (elsewhere, _):
        backend = OpenRouterBackend(api_key="sk-or-test", model="m/m", base_url=elsewhere.url + "/v1")
        assert "GET /v1/key" in str(await backend.health())
        await backend.close()


async def test_openrouter_with_a_wrong_key_is_unauthenticated_and_shows_none() -> None:
    async with serving("openrouter", api_key="sk-or-wrong") as (_, backend):
        with pytest.raises(Unauthenticated) as caught:
            await ask(backend)
        assert "sk-or-wrong" not in str(caught.value) + repr(backend) + str(backend.status())


@pytest.mark.parametrize(("status", "words"), [(402, "Insufficient credits"), (403, "Input was flagged by moderation")])
async def test_openrouter_refusals_that_no_retry_mends(status: int, words: str) -> None:
    async with serving("openrouter", [Refusal(status, words)]) as (_, backend):
        with pytest.raises(AnyclaudeError, match=words) as caught:
            await ask(backend)
        assert (caught.value.status, caught.value.retryable) == (403, False)


async def test_openrouter_tells_the_window_of_its_model() -> None:
    class Listing(OpenRouter):
        def model_entry(self) -> dict[str, Any]:
            return {"id": self.model, "context_length": 204800, "top_provider": {"max_completion_tokens": 65536}}

    async with serving(Listing()) as (_, backend):
        assert await backend.window_tokens() == 204800


# -- addresses and settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "root", "api"),
    [
        ("http://h:1", "http://h:1", "/v1"),
        ("http://h:1/", "http://h:1", "/v1"),
        ("http://h:1/v1", "http://h:1", "/v1"),
        ("http://h:1/v1/", "http://h:1", "/v1"),
        ("http://h:1/v1/chat/completions", "http://h:1", "/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api", "/v1"),
        ("https://h/paas/v4", "https://h/paas", "/v4"),
        ("https://h/deployments/x", "https://h/deployments/x", ""),
    ],
)
def test_addresses(given: str, root: str, api: str) -> None:
    assert split_base(given) == (root, api)


def test_an_unknown_kind_of_server_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'tgi' is no known kind of server; known are anyclaude, ollama"):
        OpenAIBackend("x", "http://127.0.0.1:1", server="tgi")


async def test_an_unknown_server_that_is_away_hints_at_those_of_its_port() -> None:
    backend = OpenAIBackend("x", "http://me:secret@127.0.0.1:9")
    backend._leg.hint = OpenAIBackend("y", "http://127.0.0.1:8080")._leg.hint
    with pytest.raises(BackendUnavailable, match=r"llama-server .*; or .*mlx_lm\.server") as caught:
        await ask(backend)
    assert "secret" not in caught.value.message + str(backend.status())
    await backend.close()
