"""What a server can do is found out in a few tokens, remembered, and what it refuses is not sent to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.backends import capabilities
from anyclaude_lab.backends.ask import Ask
from anyclaude_lab.backends.capabilities import Capabilities, CapabilityFile
from anyclaude_lab.backends.http import HttpLeg
from anyclaude_lab.backends.openai_http import OpenAIBackend
from tests.backends.calls import BASH, make_call, make_request, read_events
from tests.standins.http import Exchange, JsonObject
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import PROFILES, OpenRouter, Profile
from tests.standins.script import Refusal, Reply, Text, Thinking, reply

CHAT = "/v1/chat/completions"


class Strict(Profile):
    """A template that takes one call in a message and no system message behind the first. Source: Llama 3's."""

    reasoning_field = "reasoning"

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        messages = body["messages"]
        if any(len(message.get("tool_calls") or ()) > 1 for message in messages):
            return Refusal(400, "This model only supports single tool-calls at once!")
        if any(message["role"] == "system" for message in messages[1:]):
            return Refusal(400, "System message must be at the beginning.")
        return None


async def learn(server: OpenAIStandIn, file: Path) -> Capabilities | None:
    backend = OpenAIBackend("local", f"{server.url}/v1", remembered=CapabilityFile(file))
    try:
        return await backend.learn()
    finally:
        await backend.close()


@pytest.mark.parametrize("profile", sorted(PROFILES.keys() - {"openrouter"}))
async def test_every_kind_of_server_is_asked_in_a_few_tokens(profile: str, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply(Text("OK"))] * 4, profile=profile) as server:
        found = await learn(server, tmp_path / "c.json")
    assert found is not None
    assert (found.streaming, found.usage, found.tools, found.mid_system) == (True, True, True, True)
    asked = [post.json for post in server.posts(CHAT)]
    assert len(asked) == 3
    assert sum(body["max_tokens"] for body in asked) <= 16
    assert server.violations == []


async def test_what_is_refused_is_known_and_not_sent_again(tmp_path: Path) -> None:
    answers = [reply(Thinking("Hm."), Text("OK"))] * 4
    async with OpenAIStandIn(answers, profile=Strict()) as server:
        found = await learn(server, tmp_path / "c.json")
        assert found is not None
        assert (found.tools, found.parallel_calls, found.mid_system) == (True, False, False)
        assert found.reasoning_field == "reasoning"
        before = len(server.posts(CHAT))
        assert await learn(server, tmp_path / "c.json") == found
        assert len(server.posts(CHAT)) == before, "it is remembered"

        calls = [{"type": "tool_use", "id": f"toolu_{n}", "name": "Bash", "input": {"command": "ls"}} for n in range(2)]
        results = [{"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": "x"} for n in range(2)]
        history = [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
        request = make_request(tools=[BASH], messages=[{"role": "user", "content": "Go."}, *history])
        backend = OpenAIBackend("local", f"{server.url}/v1", remembered=CapabilityFile(tmp_path / "c.json"))
        await read_events(await backend.send(request, make_call(request)))  # else it would be refused
        assert backend.status()["capabilities"]["parallel_calls"] is False
        await backend.close()


async def test_what_one_model_can_is_not_taken_for_what_the_next_can(tmp_path: Path) -> None:
    profile = Strict()
    async with OpenAIStandIn([reply(Text("OK"))] * 4, profile=profile) as server:
        backend = OpenAIBackend("node", f"{server.url}/v1", remembered=CapabilityFile(tmp_path / "c.json"))
        await backend.learn()
        assert backend.status()["capabilities"]["parallel_calls"] is False
        profile.model = "another"
        await backend.recognise()
        assert "capabilities" not in backend.status()
        await backend.close()


# --- in the background ---


async def learnt_soon(standin: OpenAIStandIn, file: Path, **options: Any) -> list[str]:
    """What a new backend tells of the server before any request."""
    told: list[str] = []
    backend = OpenAIBackend("local", f"{standin.url}/v1", remembered=CapabilityFile(file), **options)
    await backend.learn_soon(told.append)
    await backend.close()
    return told


@pytest.mark.parametrize("profile", sorted(PROFILES.keys() - {"openrouter"}))
async def test_a_server_is_asked_once_for_all_starts(profile: str, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply(Text("OK"))] * 3, profile=profile) as server:
        for _ in range(2):
            (told,) = await learnt_soon(server, tmp_path / "c.json")
            assert told.startswith("local can: streaming yes, usage yes") and "tools yes" in told
        assert len(server.chats) == 3


async def test_another_version_of_a_server_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with OpenAIStandIn([reply(Text("OK"))] * 6, profile="llama.cpp") as server:
        await learnt_soon(server, tmp_path / "c.json")
        monkeypatch.setattr("tests.standins.profiles.LlamaCpp.build", "b7001")
        await learnt_soon(server, tmp_path / "c.json")
        assert len(server.chats) == 6


async def test_no_model_is_loaded_for_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.standins.profiles.LmStudio.loaded", False)
    for profile, wanted in (("lmstudio", None), ("ollama", "another:7b")):
        async with OpenAIStandIn(profile=profile) as server:
            assert await learnt_soon(server, tmp_path / "c.json", model=wanted) == []
            assert server.chats == []


async def test_what_costs_money_is_not_asked(tmp_path: Path) -> None:
    async with OpenAIStandIn(profile="openrouter") as server:
        options = {"server": "openrouter", "api_key": OpenRouter.key, "model": OpenRouter.default_model}
        (told,) = await learnt_soon(server, tmp_path / "c.json", **options)
        assert "tools yes" in told and "reasoning field: reasoning" in told
        assert server.chats == []


async def test_the_first_request_ends_the_questions(tmp_path: Path) -> None:
    def answer(body: JsonObject) -> Reply:
        return reply("fine") if body.get("tools") else reply("never", silence_s=600)

    async with OpenAIStandIn(answer, profile="mlx-lm") as server:
        backend = OpenAIBackend("local", f"{server.url}/v1", remembered=CapabilityFile(tmp_path / "c.json"))
        backend.learn_soon(lambda told: None)
        while not server.chats:
            await asyncio.sleep(0)
        request = make_request()
        await read_events(await backend.send(request, make_call(request)))
        assert len(server.chats) == 2 and "capabilities" not in backend.status()
        await backend.close()
    assert not (tmp_path / "c.json").exists()


async def test_a_server_that_fails_is_not_remembered(tmp_path: Path) -> None:
    async with OpenAIStandIn([Refusal(500, "out of memory")]) as server:
        assert await learn(server, tmp_path / "c.json") is None
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("told", [{"choices": 5}, {"choices": ["x"]}, {"choices": [{"delta": "x"}]}, {"usage": [1]}])
async def test_an_answer_that_is_no_answer_says_nothing(told: JsonObject) -> None:
    sent = b"data: " + json.dumps(told).encode() + b"\n\n"
    async with OpenAIStandIn(lambda body: Refusal(200, body=sent)) as server:
        leg = HttpLeg(server.url)
        found = await capabilities.probe(Ask(leg, "/v1"), "m")
        await leg.close()
    assert found is not None and found.reasoning_field is None and found.usage is False


@pytest.fixture
def file(tmp_path: Path) -> Iterator[CapabilityFile]:
    file = CapabilityFile(tmp_path / "state" / "c.json")
    file.put("http://a:secret@b/v1", "m", found=Capabilities(tools=True, window_tokens=8192))
    yield file


def test_it_is_remembered_by_address_and_model_for_a_week(
    file: CapabilityFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert file.get("http://a:secret@b/v1", "m") == Capabilities(tools=True, window_tokens=8192)
    assert file.get("http://a:secret@b/v1", "other") is None
    assert file.get("http://b/v1", "m") is None
    assert "secret" not in file.path.read_text()
    assert file.path.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(capabilities, "EXPIRE_S", -1.0)
    assert file.get("http://a:secret@b/v1", "m") is None


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", '{"x": 1}', '{"KEY": {"at": "now"}}', '{"KEY": {"at": 9e99, "found": {}}}', "[" * 100_000),
        *('{"KEY": {"at": NOW, "found": [1]}}', '{"KEY": {"at": 1' + "0" * 400 + "}}"),
    ],
)
def test_a_spoilt_file_is_as_good_as_none(file: CapabilityFile, content: str) -> None:
    (key,) = json.loads(file.path.read_text())
    file.path.write_text(content.replace("KEY", key).replace("NOW", str(time.time())))
    assert file.get("http://a:secret@b/v1", "m") is None
    file.put("http://a:secret@b/v1", "m", found=Capabilities(tools=False))
    assert file.get("http://a:secret@b/v1", "m") == Capabilities(tools=False)
