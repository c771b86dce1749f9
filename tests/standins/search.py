"""Web search services: SearXNG, Tavily and Brave, each with a fixed list of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from .http import Exchange, Responder, StandIn

Service = Literal["searxng", "tavily", "brave"]


@dataclass(frozen=True, slots=True)
class Found:
    title: str
    url: str
    snippet: str


FOUND = (
    Found("Tidal heating of Io", "https://example.org/io", "Io is heated by the tides of Jupiter."),
    Found("Volcanoes of Io", "https://example.org/volcanoes", "More than four hundred active volcanoes."),
)


class SearchStandIn(StandIn):
    """One search service. `queries` holds what was asked for; `status` other than 200 makes every search fail."""

    def __init__(
        self, service: Service, found: Sequence[Found] = FOUND, *, key: str = "test-key", status: int = 200
    ) -> None:
        super().__init__()
        self.service = service
        self.found = found
        self.key = key
        self.status = status
        self.queries: list[str] = []

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        if self.status != 200:
            await responder.full(self.status, {"error": "the search failed"})
        elif self.service == "searxng":
            await self._searxng(exchange, responder)
        elif self.service == "tavily":
            await self._tavily(exchange, responder)
        else:
            await self._brave(exchange, responder)

    async def _searxng(self, exchange: Exchange, responder: Responder) -> None:
        # source: docs.searxng.org "Search API": GET or POST /search, q, format=json; 403 when the format is not allowed
        fields = parse_qs(exchange.query or exchange.body.decode())
        if exchange.path not in ("/search", "/"):
            await responder.full(404, b"Not Found", [("content-type", "text/html")])
        elif fields.get("format") != ["json"]:
            await responder.full(403, b"Forbidden", [("content-type", "text/html")])
        else:
            self.queries += fields["q"]
            results = [{"title": f.title, "url": f.url, "content": f.snippet, "engine": "stand-in"} for f in self.found]
            await responder.full(
                200, {"query": fields["q"][0], "results": results, "answers": [], "unresponsive_engines": []}
            )

    async def _tavily(self, exchange: Exchange, responder: Responder) -> None:
        # source: docs.tavily.com "Tavily Search": POST /search with a bearer key; 401 with detail.error
        if (exchange.method, exchange.path) != ("POST", "/search"):
            await responder.full(404, {"detail": "Not Found"})
        elif exchange.header("authorization") != f"Bearer {self.key}":
            await responder.full(401, {"detail": {"error": "Unauthorized: missing or invalid API key."}})
        else:
            body = exchange.json
            self.queries.append(body["query"])
            results = [{"title": f.title, "url": f.url, "content": f.snippet, "score": 0.9} for f in self.found]
            await responder.full(200, {"query": body["query"], "results": results, "response_time": 0.4})

    async def _brave(self, exchange: Exchange, responder: Responder) -> None:
        # source: api.search.brave.com "Web Search API": GET /res/v1/web/search, X-Subscription-Token; 422 without it
        if (exchange.method, exchange.path) != ("GET", "/res/v1/web/search"):
            await responder.full(404, {"type": "ErrorResponse"})
        elif exchange.header("x-subscription-token") != self.key:
            error = {"code": "SUBSCRIPTION_TOKEN_INVALID", "status": 422}
            await responder.full(422, {"type": "ErrorResponse", "error": error})
        else:
            self.queries += parse_qs(exchange.query)["q"]
            results = [{"title": f.title, "url": f.url, "description": f.snippet} for f in self.found]
            await responder.full(200, {"type": "search", "web": {"type": "search", "results": results}})
