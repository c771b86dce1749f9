"""The same session of the real Claude Code at every tier, with tools as they come and in one line each."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from anyclaude_lab.prompt.tiers import TIERS
from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.session import ASIDE, PROMPT, DeferredToolSession
from tests.standins import conversation
from tests.standins.http import Exchange, JsonObject, running
from tests.standins.openai_api import OpenAIStandIn, prompt_text
from tests.standins.script import ToolCall, Turn, reply

FOREIGN_MODEL = ("--model", "anthropic-local/model", "--dangerously-skip-permissions")


@pytest.mark.parametrize("stubs", [False, True], ids=["whole", "stubs"])
@pytest.mark.parametrize("tier", [*TIERS, "auto"])
def test_a_session_at_every_tier(tier: str, stubs: bool, place: Place, start_proxy: StartProxy) -> None:
    session = DeferredToolSession(place.project)
    switch = "--stub-tools" if stubs else "--no-stub-tools"
    with running(OpenAIStandIn(session.policy, profile="mlx-lm")) as server:
        proxy = start_proxy(server, args=["--filter-tier", tier, switch])
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL)
    session.check(result)
    assert server.violations == []
    first, *later = [chat.json for chat in main_chats(server)]
    prompts = [prompt_text(body) for body in (first, *later)]
    assert all(after.startswith(before) for before, after in pairwise(prompts))
    head = json.dumps([first["messages"][0], first["tools"]])
    assert str(place.project) not in head and str(place.home) not in head
    assert (len(head) < 20_000) is stubs


def test_a_model_in_a_circle_is_told_so_and_gets_out_of_it(place: Place, start_proxy: StartProxy) -> None:
    """It makes one and the same call until a word behind the result tells it so; that word stays where it is."""

    def circling(body: JsonObject) -> Turn:
        talk = conversation.read(body)
        if "Bash" not in talk.tools:
            return ASIDE
        if "3 times with the same input" in prompt_text(body):
            if len(talk.calls) > 3:
                return reply("I see.")
            return reply("Something else.", ToolCall("Bash", {"command": "echo other", "description": "Look"}))
        return reply("Again.", ToolCall("Bash", {"command": "echo same", "description": "Look"}))

    with running(OpenAIStandIn(circling, profile="mlx-lm")) as server:
        proxy = start_proxy(server, env={"ANYCLAUDE_LOOP_HINT": "true"})
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL)
    assert "I see." in result.stdout, result
    assert server.violations == []
    prompts = [prompt_text(chat.json) for chat in main_chats(server)]
    assert len(prompts) == 5
    assert all(after.startswith(before) for before, after in pairwise(prompts))


def main_chats(server: OpenAIStandIn) -> list[Exchange]:
    return [chat for chat in server.chats if len(chat.json.get("tools") or ()) > 3]
