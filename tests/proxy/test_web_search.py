"""Claude Code's request for a web search, answered from each service, and what happens when services fail."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import anthropic
import pytest

from anyclaude_lab.backends import search as services
from anyclaude_lab.backends.http import Answer
from anyclaude_lab.backends.search import Brave, Domains, SearXNG, Tavily
from anyclaude_lab.errors import BackendUnavailable
from tests.prompt.conversations import NOTICE, tool
from tests.proxy.conftest import ASK, RunningProxy, StartProxy, said
from tests.standins import grammar
from tests.standins.http import Exchange, Responder, StandIn
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply
from tests.standins.search import FOUND, SearchStandIn, Service

QUERY = "why is Io hot"
ASKED: dict[str, Any] = {
    "model": "claude-opus-9",
    "max_tokens": 999,
    "messages": [{"role": "user", "content": f"Perform a web search for the query: {QUERY}"}],
}
SERVER_TOOL: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
SERVICES: tuple[Service, ...] = ("searxng", "tavily", "brave")


def connected(standin: SearchStandIn, key: str = "test-key") -> services.SearchService:
    if standin.service == "searxng":
        return SearXNG(standin.url)
    return Tavily(key, standin.url) if standin.service == "tavily" else Brave(key, standin.url)


async def searching(start: StartProxy, backend: OpenAIStandIn, *found: services.SearchService) -> RunningProxy:
    proxy: RunningProxy = await start(backend.url)
    proxy.serving.search = found
    return proxy


async def ask(proxy: RunningProxy, *, stream: bool = False, **limits: Any) -> Any:
    """The official client's message."""
    async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key="x", max_retries=0) as client:
        asked = ASKED | {"tools": [SERVER_TOOL | limits]}
        if not stream:
            return await client.messages.create(**asked)
        async with client.messages.stream(**asked) as events:
            return await events.get_final_message()


def pages(message: Any) -> list[str]:
    return [page.url for page in message.content[1].content]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("service", SERVICES)
async def test_the_sdk_reads_the_answer_as_one_search(start: StartProxy, service: Service, stream: bool) -> None:
    async with SearchStandIn(service) as found, OpenAIStandIn() as backend:
        proxy = await searching(start, backend, connected(found))
        message = await ask(proxy, stream=stream)
        assert [block.type for block in message.content] == ["server_tool_use", "web_search_tool_result", "text"]
        assert message.content[0].input == {"query": QUERY}
        assert message.content[1].tool_use_id == message.content[0].id
        assert pages(message) == [page.url for page in FOUND]
        assert all(page.snippet in message.content[2].text for page in FOUND)
        assert message.usage.server_tool_use.web_search_requests == 1
        assert (message.stop_reason, message.model) == ("end_turn", "claude-opus-9")
        assert found.queries == [QUERY]
        assert backend.chats == []


async def test_the_stream_is_legal(start: StartProxy) -> None:
    async with SearchStandIn("searxng") as found, OpenAIStandIn() as backend:
        proxy = await searching(start, backend, connected(found))
        answer = await proxy.http.post("/v1/messages", json=ASKED | {"tools": [SERVER_TOOL], "stream": True})
        assert grammar.violations(answer.content) == []


async def test_only_allowed_sites_are_shown(start: StartProxy) -> None:
    other = FOUND[0].__class__("Elsewhere", "https://evil-example.org/io", "")
    sub = FOUND[0].__class__("Below", "https://www.Example.org/x", "")
    async with SearchStandIn("searxng", [*FOUND, other, sub]) as found, OpenAIStandIn() as backend:
        proxy = await searching(start, backend, connected(found))
        allowed = await ask(proxy, allowed_domains=["example.org"])
        assert pages(allowed) == [FOUND[0].url, FOUND[1].url, sub.url]
        blocked = await ask(proxy, blocked_domains=["example.org"])
        assert pages(blocked) == [other.url]
        assert "Io is heated" not in blocked.content[2].text
        assert found.queries == [f"{QUERY} site:example.org", f"{QUERY} -site:example.org"]


async def test_a_service_that_can_choose_sites_is_told_which(start: StartProxy) -> None:
    async with SearchStandIn("tavily") as found, OpenAIStandIn() as backend:
        proxy = await searching(start, backend, connected(found))
        await ask(proxy, allowed_domains=["example.org"])
        body = found.exchanges[0].json
        assert (body["query"], body["include_domains"]) == (QUERY, ["example.org"])


class Silent(StandIn):
    """Takes the question and never answers."""

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        await responder.pause(60)


class Hurried(SearXNG):
    """Not waited for as long as others are."""

    async def _ask(self, query: str, domains: Domains) -> Answer | None:
        return await self._leg.ask("GET", "/search", timeout_s=0.2)


async def test_a_service_that_fails_is_followed_by_the_next(start: StartProxy) -> None:
    async with (
        Silent() as silent,
        SearchStandIn("tavily") as locked,
        SearchStandIn("brave", status=500) as broken,
        SearchStandIn("brave") as good,
        OpenAIStandIn() as backend,
    ):
        gone = SearXNG("http://127.0.0.1:9")
        refused = connected(locked, key="wrong-key-1")
        chain = (gone, Hurried(silent.url), refused, connected(broken), connected(good))
        proxy = await searching(start, backend, *chain)
        assert pages(await ask(proxy)) == [page.url for page in FOUND]
        asked = (silent, locked, broken, good)
        assert [len(service.exchanges) for service in asked] == [1, 1, 1, 1]


async def test_services_that_are_silent_share_one_patience() -> None:
    async with Silent() as first, Silent() as second:
        with pytest.raises(BackendUnavailable, match=r"No search service answered within 0\.3 s"):
            await services.first_answer([SearXNG(first.url), SearXNG(second.url)], QUERY, Domains(), total_s=0.3)


@pytest.mark.parametrize(
    ("status", "code"), [(500, "unavailable"), (429, "too_many_requests"), (0, "unavailable"), (-1, "unavailable")]
)
async def test_where_none_answers_the_client_is_told_so(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    if status == 0:
        monkeypatch.setattr(services, "TIMEOUT_S", 0.2)
    async with SearchStandIn("searxng", status=status) as failing, Silent() as silent, OpenAIStandIn() as backend:
        url = {0: silent.url, -1: "http://127.0.0.1:9"}.get(status, failing.url)
        proxy = await searching(start, backend, SearXNG(url))
        message = await ask(proxy)
        assert message.content[1].content.error_code == code
        assert message.stop_reason == "end_turn"
        outcomes = {s["labels"]["outcome"]: s["value"] for s in await proxy.metric("anyclaude_web_searches_total")}
        assert outcomes == {code: 1.0}
        assert "SearXNG" in proxy.log_file.read_text()


async def test_a_search_without_any_service_is_an_error_and_no_hang(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        message = await ask(proxy)
        assert message.content[1].content.error_code == "unavailable"


async def test_nothing_found_is_an_answer(start: StartProxy) -> None:
    async with SearchStandIn("searxng", []) as found, OpenAIStandIn() as backend:
        proxy = await searching(start, backend, connected(found))
        message = await ask(proxy)
        assert message.content[1].content == []
        assert message.usage.server_tool_use.web_search_requests == 1


async def test_the_settings_name_the_services_in_their_order(start: StartProxy) -> None:
    async with SearchStandIn("searxng") as found, OpenAIStandIn() as backend:
        env = {"SEARXNG_URL": found.url, "TAVILY_API_KEY": "tvly-key-12", "BRAVE_API_KEY": "brave-key-1"}
        proxy = await start(backend.url, env=env)
        assert [service.name for service in proxy.serving.search] == ["SearXNG", "Tavily", "Brave"]
        await ask(proxy)
        assert [(e.path, parse_qs(e.query)["format"]) for e in found.exchanges] == [("/search", ["json"])]


@pytest.mark.parametrize("configured", [True, False])
async def test_the_tool_is_offered_only_where_a_service_is(start: StartProxy, configured: bool) -> None:
    async with SearchStandIn("searxng") as found, OpenAIStandIn([reply("ok")]) as backend:
        proxy = await start(backend.url, env={"SEARXNG_URL": found.url} if configured else {})
        messages = [*ASK["messages"], {"role": "system", "content": NOTICE}]
        answer = await proxy.ask(tools=[tool("WebSearch"), tool("WebFetch")], messages=messages)
        assert said(answer) == "ok"
        sent = backend.chats[0]
        assert (b"WebSearch" in sent.body) is configured
        assert b"WebFetch" in sent.body and b"NotebookEdit" in sent.body
