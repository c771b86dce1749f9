"""The real client searches the web: its own request for it is answered, and shown as a search that found something."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.test_sessions import FOREIGN_MODEL, WINDOW_TOKENS
from tests.standins import conversation
from tests.standins.conversation import Conversation
from tests.standins.http import JsonObject, running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import ToolCall, Turn, reply
from tests.standins.search import FOUND, SearchStandIn

PROMPT = "Why is Io hot? Search for it."
QUERY = "tidal heating of Io"


@dataclass(slots=True)
class SearchSession:
    """Fetch the deferred tool where it is one, search, say what was found."""

    talks: list[Conversation] = field(default_factory=list)

    def turn(self, body: JsonObject) -> Turn:
        talk = conversation.read(body)
        if "Bash" not in talk.tools or not any(PROMPT in text for text in talk.user_texts):
            return reply("{}")
        self.talks.append(talk)
        names = [call.name for call in talk.calls]
        if "WebSearch" in names:
            return reply("The search is over.")
        if "WebSearch" not in talk.tools and "ToolSearch" not in names:
            return reply(ToolCall("ToolSearch", {"query": "select:WebSearch", "max_results": 5}))
        return reply(ToolCall("WebSearch", {"query": QUERY}))


def local_server(session: SearchSession) -> OpenAIStandIn:
    server = OpenAIStandIn(session.turn, profile="mlx-lm")
    server.profile.window_tokens = WINDOW_TOKENS
    return server


@pytest.mark.parametrize("status", [200, 500], ids=["answered", "down"])
def test_the_client_searches_through_the_proxy(status: int, place: Place, start_proxy: StartProxy) -> None:
    session = SearchSession()
    search = SearchStandIn("searxng", status=status)
    with running(search), running(local_server(session)) as server:
        proxy = start_proxy(server, env={"SEARXNG_URL": search.url})
        args = (*FOREIGN_MODEL, "--output-format", "stream-json", "--verbose")
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=args)
        metrics = proxy.metrics()
    assert result.rc == 0, result
    found = next(call for call in session.talks[-1].calls if call.name == "WebSearch").result
    assert found is not None
    shown = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    results = [m["tool_use_result"] for m in shown if isinstance(m.get("tool_use_result"), dict)]
    # What the terminal's "Did 1 search" is made of.
    assert [r["searchCount"] for r in results if r.get("query") == QUERY] == [1]
    if status == 200:
        assert search.queries == [QUERY]
        assert all(page.url in found for page in FOUND)
        assert 'anyclaude_web_searches_total{outcome="answered"} 1.0' in metrics
    else:
        assert "unavailable" in found
        assert 'anyclaude_web_searches_total{outcome="unavailable"} 1.0' in metrics
    assert "The search is over." in result.stdout
    assert server.violations == []


def test_without_a_service_no_request_names_the_tool(place: Place, start_proxy: StartProxy) -> None:
    session = SearchSession()
    with running(local_server(session)) as server:
        proxy = start_proxy(server)
        headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL)
        assert any(b"WebSearch" in passed.request_body for passed in proxy.messages), "the client does not offer it"
        first = server.chats[0].json
        assert "WebSearch" not in json.dumps(first)
