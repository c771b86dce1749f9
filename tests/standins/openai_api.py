"""A scripted chat-completions server that behaves like one of the servers in `profiles`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence

from .http import DEADLINE_S, Exchange, JsonObject, Responder, StandIn
from .profiles import PROFILES, Profile, Request, Usage
from .script import Policy, Refusal, Reply, Script, ToolCall, Turn, play

CHARACTERS_PER_TOKEN = 4
CACHED_PROMPTS = 10


class OpenAIStandIn(StandIn):
    """A chat-completions server with scripted answers.

    `profile` is a name of `profiles.PROFILES` or a Profile. Where a reply names no cached tokens they are what a
    prefix cache over the last ten prompts would have found.
    """

    def __init__(
        self,
        turns: Sequence[Turn] | Policy = (),
        *,
        profile: str | Profile = "openai",
        port: int = 0,
        piece_bytes: int | None = None,
    ) -> None:
        super().__init__(port=port, piece_bytes=piece_bytes)
        self.script = Script(turns)
        self.profile = PROFILES[profile]() if isinstance(profile, str) else profile
        self.http10 = self.profile.http10
        self._serials = itertools.count(1)
        self._prompts: list[str] = []

    @property
    def model(self) -> str:
        return self.profile.model

    @property
    def chats(self) -> list[Exchange]:
        """The requests for a completion, in order."""
        return self.posts("/v1/chat/completions")

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        if (exchange.method, exchange.path) == ("POST", "/v1/chat/completions"):
            await self._chat(exchange, responder)
            return
        try:
            count = count_tokens(exchange.json) if exchange.body else 0
        except ValueError as error:
            await responder.full(400, self.profile.error(400, f"Invalid JSON in request body: {error}", None))
            return
        if not await self.profile.other(exchange, responder, count):
            await self.profile.unknown(exchange, responder)

    async def _chat(self, exchange: Exchange, responder: Responder) -> None:
        try:
            body = exchange.json
        except ValueError as error:
            await responder.full(400, self.profile.error(400, f"Invalid JSON in request body: {error}", None))
            return
        self.violations += [*history_complaints(body), *self.profile.complaints(exchange, body)]
        turn = self.profile.refuse(exchange, body, count_tokens(body)) or self.script.turn(body)
        if turn is None:
            self.violations.append("a request came after the last scripted turn")
            turn = Refusal(500, "the script has no more turns")
        if isinstance(turn, Refusal):
            await responder.pause(turn.after_s if turn.until is None else DEADLINE_S, turn.until)
            data = turn.body if turn.body is not None else self.profile.error(turn.status, turn.message, turn.type)
            await responder.full(turn.status, data, turn.headers)
            return
        request = Request(body, turn, self._usage(body, turn), next(self._serials))
        if body.get("stream"):
            await responder.start(200, self.profile.stream_headers(request))
            await play(self.profile.frames(request), turn, responder, self.profile.stream_error)
        else:
            await responder.pause(turn.silence_s)
            await responder.full(200, self.profile.completion(request))

    def _usage(self, body: JsonObject, turn: Reply) -> Usage:
        prompt = prompt_text(body)
        shared = max((shared_length(prompt, old) for old in self._prompts), default=0)
        self._prompts = [*self._prompts, prompt][-CACHED_PROMPTS:]
        cached = shared // CHARACTERS_PER_TOKEN if turn.cached_tokens is None else turn.cached_tokens
        total = len(prompt) // CHARACTERS_PER_TOKEN if turn.prompt_tokens is None else turn.prompt_tokens
        written = sum(len(json.dumps(p.input) if isinstance(p, ToolCall) else p.text) for p in turn.parts)
        output = max(1, written // CHARACTERS_PER_TOKEN) if turn.output_tokens is None else turn.output_tokens
        return Usage(total, min(cached, total), output)


def prompt_text(body: JsonObject) -> str:
    """The prompt as a template with tools at the head would lay it out: equal requests give equal text."""
    tools = "".join(json.dumps(tool, ensure_ascii=False) + "\n" for tool in body.get("tools") or ())
    return tools + "".join(json.dumps(message, ensure_ascii=False) + "\n" for message in body.get("messages", ()))


def shared_length(first: str, second: str) -> int:
    """The length of the common beginning of two texts."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first.startswith(second[:middle]) else (low, middle - 1)
    return low


def count_tokens(body: JsonObject) -> int:
    """A stable count that grows with the prompt."""
    return len(prompt_text(body)) // CHARACTERS_PER_TOKEN


def history_complaints(body: JsonObject) -> Iterator[str]:
    """What every chat-completions server refuses in a history. Source: OpenAI reference, "messages" and "tools"."""
    open_calls: list[str] = []
    for index, message in enumerate(body.get("messages", ())):
        where = f"messages[{index}]"
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                yield f"{where}: a tool message answers no call of the assistant turn before it"
            else:
                open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            yield f"{where}: the calls {open_calls} have no tool message"
        open_calls = [call["id"] for call in message.get("tool_calls") or ()]
        for call in message.get("tool_calls") or ():
            try:
                json.loads(call["function"]["arguments"])
            except (ValueError, TypeError):
                yield f"{where}: the arguments of {call['function']['name']} are no JSON text"
    if open_calls:
        yield f"the last calls {open_calls} have no tool message"
    if body.get("tools") == []:
        yield "an empty tools list (several servers answer 400)"
