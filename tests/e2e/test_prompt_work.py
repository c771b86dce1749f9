"""The same session of the real Claude Code at every tier, with tools as they come and in one line each."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from anyclaude_lab.prompt.tiers import TIERS
from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.session import PROMPT, DeferredToolSession
from tests.standins.http import Exchange, running
from tests.standins.openai_api import OpenAIStandIn, prompt_text

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


def main_chats(server: OpenAIStandIn) -> list[Exchange]:
    return [chat for chat in server.chats if len(chat.json.get("tools") or ()) > 3]
