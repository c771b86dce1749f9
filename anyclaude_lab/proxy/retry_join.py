"""A request that is still running is not begun a second time: a retry, or a duplicate, joins it.

A client that asks again has hung up before. A backend that throws its computed prompt away when the connection closes
would begin a 20-second prefill anew for every retry, so a prefill whose client left runs on for `grace_s` seconds and
is handed to whoever asks the same; each time it waits twice as long, as the client does between its retries. The same
request of the same session that comes while the first is being answered gets the events from the first one on, then
those that follow.

What must not be joined: an answer whose tool call another client has in hand (it would run twice), one that failed,
one whose beginning is no longer kept, and, for a client that names no session, one that has a client.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from anyclaude_lab.exchange import Exchange
from anyclaude_lab.prompt.billing import remove_billing
from anyclaude_lab.prompt.spelling import spell_canonically
from anyclaude_lab.proxy.metrics import Metrics
from anyclaude_lab.proxy.shared_answer import Reader, SharedAnswer
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.headers import ClientHints, is_probe
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.same import each, once

LONGEST_GRACE_S = 16.0
KEYED = (
    "model",
    "system",
    "tools",
    "messages",
    "tool_choice",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "thinking",
    "output_config",
)


# What the API does where nothing is said; releases before 2.1 say it only in the retry without a stream.
MEANT_ANYWAY: JsonObject = {
    "temperature": 1,
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "disabled"},
    "stop_sequences": [],
    "tools": [],
}


def twin_key(lane: str, request: Request) -> str:
    """Equal for a request and its retry: everything that decides the answer, not `stream` or `max_tokens`."""
    asked = remove_billing(spell_canonically(request)).body
    said = {name: asked[name] for name in KEYED if asked.get(name) is not None}
    body: JsonObject = {name: value for name, value in said.items() if value != MEANT_ANYWAY.get(name)}
    if "tools" in body:
        body["tools"] = _list_digest(body["tools"])
    if "system" in body:
        body["system"] = _list_digest(body["system"])
    body["messages"] = [_message_digest(message) for message in body.get("messages") or []]
    return hashlib.blake2b(lane.encode() + b"\0" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


@once
def _list_digest(tools: list[JsonObject]) -> str:
    return hashlib.blake2b(orjson.dumps(tools, option=orjson.OPT_SORT_KEYS)).hexdigest()


@each
def _message_digest(message: JsonObject) -> str:
    return hashlib.blake2b(orjson.dumps(message, option=orjson.OPT_SORT_KEYS)).hexdigest()


class RetryJoin:
    """Every answer that is being given, by the key of its request."""

    def __init__(self, grace_s: float, metrics: Metrics) -> None:
        self.grace_s, self._metrics = grace_s, metrics
        self._given: dict[str, SharedAnswer] = {}
        self._held: dict[SharedAnswer, asyncio.Task[None]] = {}

    def enter(
        self, key: str, hints: ClientHints, request: Request, begin: Callable[[], Coroutine[Any, Any, Exchange]]
    ) -> Reader:
        """A reader of the answer to this request: of the one that is being given, else of a new one."""
        given = self._given.get(key)
        if given is not None and not is_probe(request) and self._may_join(given, hints):
            self._metrics.joins.labels("answering" if given.readers else "waiting").inc()
            if given in self._held:
                self._held.pop(given).cancel()
                self._metrics.retry_grace.labels("joined").inc()
            return given.reader()
        answer = SharedAnswer(key, begin())
        self._given[key] = answer
        return answer.reader()

    async def release(self, answer: SharedAnswer, *, hold: bool) -> None:
        """Nobody reads it any more: keep it for its twin, or drop it at once where it is not worth keeping."""
        if answer.readers:
            return  # somebody has joined since
        if hold and self.grace_s > 0 and self._given.get(answer.key) is answer and answer.worth_holding:
            self._metrics.retry_grace.labels("held").inc()
            grace_s = min(self.grace_s * 2**answer.holds, max(self.grace_s, LONGEST_GRACE_S))
            answer.holds += 1
            self._held[answer] = asyncio.create_task(self._expire(answer, grace_s))
        else:
            await self._drop(answer)

    def forgotten(self, answer: SharedAnswer) -> bool:
        """Whether it is over and nobody reads it: then nothing is left to do but to forget it, which is done."""
        if answer.readers or not answer.over:
            return False
        self._forget(answer)
        return True

    async def close(self) -> None:
        """Drop what nobody reads, and whatever still comes."""
        self.grace_s = 0.0
        for answer in list(self._held):
            self._held.pop(answer).cancel()
            await self._drop(answer)

    @staticmethod
    def _may_join(given: SharedAnswer, hints: ClientHints) -> bool:
        return given.joinable and (not given.readers or hints.session_id is not None)

    async def _expire(self, answer: SharedAnswer, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        del self._held[answer]
        self._metrics.retry_grace.labels("cancelled").inc()
        await self._drop(answer)

    def _forget(self, answer: SharedAnswer) -> None:
        if self._given.get(answer.key) is answer:
            del self._given[answer.key]

    async def _drop(self, answer: SharedAnswer) -> None:
        self._forget(answer)
        await answer.let_go()
