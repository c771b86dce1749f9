"""Small questions to one server, and how their answers are read."""

from __future__ import annotations

import orjson

from anyclaude_lab.backends.base import RawHeaders
from anyclaude_lab.backends.http import Answer, HttpLeg
from anyclaude_lab.wire.events import JsonObject

MODELS = "{api}/models"  # {api}: where the OpenAI routes begin, "/v1" nearly everywhere
CHAT = "{api}/chat/completions"
JSON_HEADER = ("Content-Type", "application/json")


class Ask:
    """Small questions to one server. One that is not answered, or not with a JSON object, is answered `{}`."""

    def __init__(self, leg: HttpLeg, api: str, headers: RawHeaders = (), timeout_s: float = 3.0) -> None:
        self.leg, self.api, self.address = leg, api, leg.url + api
        self._headers, self._timeout_s = tuple(headers), timeout_s

    async def raw(self, path: str) -> Answer | None:
        """The whole answer to a GET; None when it does not come in time."""
        return await self.leg.ask("GET", self.at(path), headers=self._headers, timeout_s=self._timeout_s)

    async def insist(self, path: str) -> Answer:
        """The same, but what keeps the answer away is raised."""
        return await self.leg.insist("GET", self.at(path), headers=self._headers, timeout_s=self._timeout_s)

    async def get(self, path: str) -> JsonObject:
        answer = await self.raw(path)
        return answer.json() if answer and answer.ok else {}

    async def post(self, path: str, body: JsonObject, *, timeout_s: float | None = None) -> JsonObject:
        answer = await self.posted(path, body, timeout_s=timeout_s)
        return answer.json() if answer and answer.ok else {}

    async def posted(
        self, path: str, body: JsonObject, *, headers: RawHeaders = (), timeout_s: float | None = None
    ) -> Answer | None:
        """The whole answer to a POST; None when it does not come in time."""
        return await self.leg.ask(
            "POST",
            self.at(path),
            headers=(JSON_HEADER, *self._headers, *headers),
            body=orjson.dumps(body),
            timeout_s=timeout_s or self._timeout_s,
        )

    async def models(self) -> list[JsonObject]:
        """The entries of the model list."""
        return entries(await self.get(MODELS), "data")

    def at(self, path: str) -> str:
        """The path as this server has it."""
        return path.format(api=self.api) if path.startswith("{api}") else path


def entries(body: JsonObject, name: str) -> list[JsonObject]:
    """The objects of a list field."""
    value = body.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def tokens_of(body: JsonObject, *names: str) -> int | None:
    """The first of these fields that holds a positive whole number."""
    return next((v for n in names if isinstance(v := body.get(n), int) and not isinstance(v, bool) and v > 0), None)
