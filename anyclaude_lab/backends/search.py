"""Web search services: a query goes out, titles and addresses come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import orjson

from anyclaude_lab.backends.http import Answer, HttpLeg
from anyclaude_lab.errors import AnyclaudeError, BackendFailed, BackendUnavailable, RateLimited
from anyclaude_lab.wire.events import JsonObject

TIMEOUT_S = 5.0  # of one service
TOTAL_S = 9.0  # of all of them: a client is never left in silence for 10 s
RESULTS = 10
TAVILY_URL = "https://api.tavily.com"
BRAVE_URL = "https://api.search.brave.com"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page found. `age` is how the service puts it, None where it does not say."""

    title: str
    url: str
    snippet: str
    age: str | None = None


@dataclass(frozen=True, slots=True)
class Domains:
    """Which sites may answer; a site's subdomains belong to it."""

    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    def admit(self, url: str) -> bool:
        """Whether a page of this address may be shown."""
        host = (urlsplit(url).hostname or "").lower()
        if self.allowed and not _belongs(host, self.allowed):
            return False
        return not _belongs(host, self.blocked)

    def worded(self, query: str) -> str:
        """The query with the operators by which search engines choose sites."""
        allowed = " OR ".join(f"site:{domain}" for domain in self.allowed)
        blocked = [f"-site:{domain}" for domain in self.blocked]
        return " ".join(part for part in (query, allowed, *blocked) if part)


def _belongs(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain.lower() or host.endswith("." + domain.lower()) for domain in domains)


class SearchService(Protocol):
    """One place that searches."""

    name: str

    async def search(self, query: str, domains: Domains) -> list[SearchResult]:
        """At most RESULTS pages, best first, of these domains where the service can choose.

        Raises `AnyclaudeError` where the service does not answer as it should.
        """
        ...

    async def close(self) -> None: ...


class _Service:
    """A service over HTTP: how it is asked, and where its results stand."""

    def __init__(
        self, name: str, url: str, *, pick: Callable[[JsonObject], Any], snippet: str, headers: JsonObject
    ) -> None:
        self.name = name
        self._leg = HttpLeg(url)
        self._pick, self._snippet = pick, snippet
        self._headers = list(headers.items())

    async def search(self, query: str, domains: Domains) -> list[SearchResult]:
        answer = await self._ask(query, domains)
        if answer is None:
            raise BackendUnavailable(f"The search service {self.name} at {self._leg.url} does not answer.")
        if answer.status == 429:
            raise RateLimited(f"The search service {self.name} refuses: too many searches.")
        if answer.status != 200:
            raise BackendFailed(f"The search service {self.name} answered with HTTP {answer.status}.")
        found = self._pick(answer.json()) or []
        return [
            SearchResult(str(r.get("title") or r["url"]), str(r["url"]), str(r.get(self._snippet) or ""), r.get("age"))
            for r in found
            if isinstance(r, dict) and str(r.get("url", "")).startswith(("http://", "https://"))
        ][:RESULTS]

    async def close(self) -> None:
        await self._leg.close()

    async def _ask(self, query: str, domains: Domains) -> Answer | None:
        raise NotImplementedError


class SearXNG(_Service):
    """A SearXNG instance of one's own; its JSON format must be enabled. docs.searxng.org/dev/search_api.html"""

    def __init__(self, url: str) -> None:
        super().__init__("SearXNG", url, pick=lambda body: body.get("results"), snippet="content", headers={})

    async def _ask(self, query: str, domains: Domains) -> Answer | None:
        path = f"/search?{urlencode({'q': domains.worded(query), 'format': 'json'})}"
        return await self._leg.ask("GET", path, timeout_s=TIMEOUT_S)


class Tavily(_Service):
    """docs.tavily.com/documentation/api-reference/endpoint/search"""

    def __init__(self, api_key: str, url: str = TAVILY_URL) -> None:
        headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        super().__init__("Tavily", url, pick=lambda body: body.get("results"), snippet="content", headers=headers)

    async def _ask(self, query: str, domains: Domains) -> Answer | None:
        asked: JsonObject = {"query": query, "max_results": RESULTS}
        if domains.allowed:
            asked["include_domains"] = domains.allowed
        if domains.blocked:
            asked["exclude_domains"] = domains.blocked
        body = orjson.dumps(asked)
        return await self._leg.ask("POST", "/search", headers=self._headers, body=body, timeout_s=TIMEOUT_S)


class Brave(_Service):
    """api-dashboard.search.brave.com/app/documentation/web-search/query"""

    def __init__(self, api_key: str, url: str = BRAVE_URL) -> None:
        headers = {"x-subscription-token": api_key, "accept": "application/json"}
        super().__init__(
            "Brave",
            url,
            pick=lambda body: (body.get("web") or {}).get("results"),
            snippet="description",
            headers=headers,
        )

    async def _ask(self, query: str, domains: Domains) -> Answer | None:
        path = f"/res/v1/web/search?{urlencode({'q': domains.worded(query), 'count': RESULTS})}"
        return await self._leg.ask("GET", path, headers=self._headers, timeout_s=TIMEOUT_S)


async def first_answer(
    services: Sequence[SearchService], query: str, domains: Domains, *, total_s: float = TOTAL_S
) -> tuple[str, list[SearchResult]]:
    """The name of the first service that answers, and its results. Raises the last one's error where none does."""
    failure: AnyclaudeError = BackendUnavailable("No search service is configured.")
    try:
        async with asyncio.timeout(total_s):
            for service in services:
                try:
                    found = await service.search(query, domains)
                    return service.name, [result for result in found if domains.admit(result.url)]
                except AnyclaudeError as error:
                    failure = error
    except TimeoutError:
        failure = BackendUnavailable(f"No search service answered within {total_s:g} s.")
    raise failure
