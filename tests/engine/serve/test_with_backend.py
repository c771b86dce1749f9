"""The proxy's backend in front of a real engine: what one says, the other reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.backends.capabilities import CapabilityFile
from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.engine import embedded
from anyclaude_lab.errors import PromptTooLong
from anyclaude_lab.prompt.deferred import place_deferred
from anyclaude_lab.views import page
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.fold import fold
from tests.backends.calls import BASH, make_call, make_request, read_events
from tests.engine.serve.test_http import serving
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Text, reply

pytestmark = pytest.mark.engine


async def test_a_conversation_is_counted_answered_and_warm(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"]) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1")
        try:
            request = make_request("Read the file, please. " * 20, max_tokens=6)
            first = await backend.send(request, make_call(request))
            message = fold(await read_events(first))
            assert backend.status()["server"] == "anyclaude"
            assert first.decoder is not None
            assert first.decoder.ending is Ending.COMPLETE
            prompt_tokens = first.decoder.usage.prompt_tokens
            assert prompt_tokens is not None
            assert prompt_tokens == await backend.count(request)
            assert first.decoder.progress is not None
            assert await backend.window_tokens() == 32768
            assert not backend.loses_prefill_on_abort

            history = [*request.messages, {"role": "assistant", "content": message["content"] or "."}]
            longer = request.with_(messages=[*history, {"role": "user", "content": "Go on."}])
            second = await backend.send(longer, make_call(longer))
            await read_events(second)
            assert second.decoder is not None
            assert second.decoder.usage.cached_tokens is not None
            assert second.decoder.usage.cached_tokens >= prompt_tokens
            lanes = (await client.get("/metrics"))["requests"]["lanes"]
            assert [lane["requests"] for lane in lanes.values()] == [2]
        finally:
            await backend.close()


async def test_it_says_what_it_can_do_without_a_conversation_being_kept(
    model_folders: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(model_folders["plain"]) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1", remembered=CapabilityFile(tmp_path / "c.json"))
        found = await backend.learn()
        entries = (await client.get("/metrics"))["memory"]["entries"]
        await backend.close()
    assert found is not None
    assert (found.streaming, found.usage, found.cached_tokens, found.window_tokens) == (True, True, True, 32768)
    assert (found.tools, found.parallel_calls, found.mid_system) == (True, True, True)
    assert entries["conversation"] == 0


@pytest.mark.parametrize(("said", "diverged"), [(None, 0), ("What it never wrote.", 1)])
async def test_an_answer_that_comes_back_as_other_tokens_is_told(said: str | None, diverged: int) -> None:
    async with serving(embedded.folder()) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1")
        request = make_request("Run the command `ls -la src`", max_tokens=100)
        answer = fold(await read_events(await backend.send(request, make_call(request))))["content"]
        assert answer[-1]["type"] == "tool_use"
        result = {"type": "tool_result", "tool_use_id": answer[-1]["id"], "content": "a.py"}
        turn = {"role": "assistant", "content": [*([{"type": "text", "text": said}] if said else []), *answer]}
        longer = request.with_(messages=[*request.messages, turn, {"role": "user", "content": [result]}])
        await read_events(await backend.send(longer, make_call(longer)))
        assert await backend.health() is None
        trips = backend.status()["round_trips"]
        await backend.close()
    assert (trips["turns"], trips["diverged"]) == (1, diverged)
    assert (trips["tokens_lost"] > 0) is bool(diverged)
    assert f"{diverged} of 1 as other tokens" in str(page.backend({"round_trips": trips}, None, None))


@pytest.mark.parametrize("tools", [[], [BASH]])
async def test_a_side_call_is_kept_as_one(model_folders: dict[str, Path], tools: list[dict[str, Any]]) -> None:
    """One that says so, or, as the client asks for titles in its own words, one without tools."""
    async with serving(model_folders["plain"]) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1")
        request = make_request("A title for this, please.", max_tokens=2, tools=tools)
        await read_events(await backend.send(request, replace(make_call(request), background=bool(tools))))
        entries = (await client.get("/metrics"))["memory"]["entries"]
        await backend.close()
    assert entries == {"side": 1, "conversation": 0, "head": 0}


async def test_an_overflow_is_told_in_the_words_the_client_knows(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"], window_tokens=300) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1", server="anyclaude")
        request = make_request("x" * 400)
        with pytest.raises(PromptTooLong, match=r"prompt is too long: \d+ tokens > 300 maximum"):
            await backend.send(request, make_call(request))
        await backend.close()


@pytest.mark.parametrize(("engine", "told"), [(True, ["Bash", "Fetch"]), (False, None)])
async def test_deferred_tools_are_told_to_an_engine_that_constrains_calls(engine: bool, told: list[str] | None) -> None:
    profile = "anyclaude" if engine else "llama.cpp"
    fetch = {**BASH, "name": "Fetch", "defer_loading": True}
    loaded = [{"type": "tool_reference", "tool_name": "Fetch"}]
    history = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": loaded}]},
    ]
    asked = make_request(tools=[BASH, fetch], messages=[{"role": "user", "content": "Load it."}, *history])
    async with OpenAIStandIn([reply(Text("ok"))] * 2, profile=profile) as server:
        backend = OpenAIBackend("local", f"{server.url}/v1")
        for request in (asked, make_request(tools=[BASH, fetch])):
            await read_events(await backend.send(place_deferred(request), make_call(request)))
        await backend.close()
        deferred, plain = (post.json for post in server.posts("/v1/chat/completions"))
    assert [tool["function"]["name"] for tool in deferred["tools"]] == ["Bash"]
    assert (told is None) == ("callable_tools" not in deferred)
    assert told is None or [tool["function"]["name"] for tool in deferred["callable_tools"]] == told
    assert "callable_tools" not in plain  # nobody has loaded it yet
