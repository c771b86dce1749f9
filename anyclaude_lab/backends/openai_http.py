"""A server that speaks OpenAI's chat completions: asked in its dialect, read back as Anthropic events."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from anyclaude_lab.backends.ask import CHAT, MODELS, Ask
from anyclaude_lab.backends.base import Call, RawHeaders, Reply
from anyclaude_lab.backends.capabilities import Capabilities, CapabilityFile
from anyclaude_lab.backends.http import Answer, Budgets, HttpLeg, Incoming
from anyclaude_lab.backends.learning import Learning
from anyclaude_lab.backends.probe import identify, patience_s, split_base
from anyclaude_lab.backends.profiles import GENERIC, LOCAL_SERVERS, PROFILES, Model, Server, ServerProfile
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendBusy,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    NotFound,
    SettingsError,
)
from anyclaude_lab.models.adapters import Adapter, adapter_named
from anyclaude_lab.models.families import GENERIC as GENERIC_FAMILY
from anyclaude_lab.models.families import family_of
from anyclaude_lab.prompt.deferred import defined_below
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import Dialect
from anyclaude_lab.wire.openai_errors import read_error
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder, reply_context
from anyclaude_lab.wire.openai_text import SPECIAL_TOKENS
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames

WINDOW_ASKED_AGAIN_S = 30.0
UNDECIDED_RETRY_S = 2
PLACEHOLDER_MODELS = ("current-model", "default_model")  # "whatever is loaded", in the settings of other programs


class OpenAIBackend:
    """One server at `base_url`, with or without its `/v1`.

    `server` is the kind (a key of `profiles.PROFILES`); None finds it out on first use. `model` None is what the server
    has loaded, or lists first; the id that the client asked for is never sent, only echoed. `model_path` is the folder
    or hub id of the loaded model where we know it: it tells the window and the template's quirks. `adapter` names the
    family it is talked to as: a key of `models.adapters.ADAPTERS`, or "auto" to go by the model's name. `remembered`:
    where the answers to `learn` are kept; what the server refused then is not sent again.
    """

    translating = True

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        server: str | None = None,
        model: str | None = None,
        small_model: str | None = None,
        api_key: str | None = None,
        model_path: str | Path | None = None,
        adapter: str = "none",
        budgets: Budgets | None = None,
        extra_headers: RawHeaders = (),
        extra_body: Mapping[str, Any] | None = None,
        remembered: CapabilityFile | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if server is not None and server not in PROFILES:
            raise SettingsError(f"{server!r} is no known kind of server; known are {', '.join(PROFILES)}.")
        self.name = name
        root, api = split_base(base_url)
        self._pinned = PROFILES[server] if server else None
        self._leg = HttpLeg(root, budgets=budgets, hint=_start_hint(self._pinned, root), inflates=True)
        bearer = [("Authorization", f"Bearer {api_key}")] if api_key else []
        self._headers: RawHeaders = [("User-Agent", "anyclaude-lab"), *bearer, *extra_headers]
        self._ask = Ask(self._leg, api, self._headers, patience_s(self._leg.url))
        self._wanted, self._wanted_small = _wanted(model), _wanted(small_model)
        self._model_path = str(model_path) if model_path else None
        self._adapter_name = adapter
        self._extra_body = dict(extra_body or {})
        self._asks_version = remembered is not None  # what is remembered holds for one version
        self._learning = Learning(self._ask, remembered, server=self._known, window_tokens=self.window_tokens)
        self._round_trips: JsonObject | None = None
        self._clock = clock
        self._server: Server | None = None
        self._state = "unknown"
        self._window: int | None = None
        self._window_asked_again = -math.inf
        self._opens_in_reasoning: set[str] = set()  # models whose template opens the reasoning block itself

    @property
    def loses_prefill_on_abort(self) -> bool:
        """Assumed until the kind of the server is known."""
        profile = self._server.profile if self._server else self._pinned
        return profile.loses_prefill_on_abort if profile else True

    async def send(self, request: Request, call: Call) -> Reply:
        """Ask in the server's dialect. Its refusals are raised as errors of our tree."""
        self._learning.stop()
        server = await self._known()
        model = server.model_for(call)
        body, notes = self._body(server, model, request, call.original)
        incoming = await self._post(body, call, server.profile)
        try:
            await self._refuse_failure(incoming, server.profile, call)
        except NotFound:
            self._server = None  # the model that was there before may be gone
            raise
        if call.background and self._wanted_small and server.profile.one_model:
            notes.append(f"{server.profile.label} holds one model at a time: the smaller one is not used")
        family, adapter = family_of(model.name), self._adapter(model)
        decoder = OpenAIStreamDecoder(
            reply_context(
                call.original,
                message_id=f"msg_{call.request_id}",
                names=self._names(call.original, server.profile),
                prompt_tokens=call.prompt_tokens,
                parser=family.parser,
                # Of an unknown model only tokens that cannot be meant are taken out; "</s>" is HTML as well.
                special_tokens=(*SPECIAL_TOKENS, *(family.special_tokens if family is not GENERIC_FAMILY else ())),
                starts_in_reasoning=model.id in self._opens_in_reasoning,
                shown=adapter.shown_tools(call.original),
                reshapes=adapter.reshapes(call.original),
            ),
            self._dialect(server.profile, model),
        )

        async def close() -> None:
            if decoder.closed_unopened_reasoning:
                self._opens_in_reasoning.add(model.id)
            await incoming.close()

        return Reply(
            200, incoming.headers, incoming, decoder, close, self.name, model.id, notes, hand_to=incoming.hand_to
        )

    async def count(self, request: Request) -> int | None:
        """Prompt tokens by the server's own template and tokenizer, where it has an endpoint for that."""
        try:
            server = await self._known()
        except AnyclaudeError:
            return None
        if server.profile.count is None:
            return None
        body, _ = self._body(server, server.main, request, request)
        return await server.profile.count(self._ask, body)

    async def window_tokens(self) -> int | None:
        """The window the server reports; asked again every now and then, as models are reloaded."""
        if self._clock() < self._window_asked_again:
            return self._window
        try:
            server = await self._known()
        except AnyclaudeError:
            return self._window
        found = await server.profile.window(self._ask, server.main)
        if found is not None:
            self._window = found
            fixed = server.profile.window_is_fixed
            self._window_asked_again = self._clock() + (math.inf if fixed else WINDOW_ASKED_AGAIN_S)
        elif self._window or server.profile is GENERIC:  # others do not say while they load; this one hardly ever says
            self._window_asked_again = self._clock() + WINDOW_ASKED_AGAIN_S
        return self._window

    async def health(self) -> str | None:
        try:
            server = await self._known()
            answer = await self._ask.insist(server.profile.health)
        except AnyclaudeError as error:
            if isinstance(error, BackendUnavailable):
                self._forget()
            return error.message
        # A server of unknown kind may lack the model list and still answer.
        if not answer.ok and (server.profile is not GENERIC or answer.status >= 500 or answer.status in (401, 403)):
            return read_error(answer.status, answer.body, server.profile.dialect).message
        self._state = "up"
        if server.profile.figures:
            self._round_trips = (await self._ask.get(server.profile.figures)).get("round_trips")
        return None

    async def recognise(self) -> None:
        """Look anew what kind of server and which model is there. Raises what keeps it from being told."""
        found = await self._found()
        if found != self._server:
            self._server, self._window_asked_again = found, -math.inf
            self._learning.recall(found)

    async def learn(self) -> Capabilities | None:
        """What the server can do with its main model: remembered, or asked now and remembered; None where it is silent.

        Raises what keeps the server away.
        """
        return await self._learning.now()

    def learn_soon(self, tell: Callable[[str], None]) -> asyncio.Task[None]:
        """Begin to `learn` in the background. The first request ends it: nothing waits, nothing changes on its way."""
        return self._learning.soon(lambda found: tell(f"{self.name} can: {found.told()}"))

    def status(self) -> JsonObject:
        server = self._server
        profile = server.profile if server else self._pinned
        known = {"server": profile.kind if profile else None, "model": server.main.id if server else self._wanted}
        able = {"capabilities": asdict(self._learning.found)} if self._learning.found else {}
        trips = {"round_trips": self._round_trips} if self._round_trips else {}
        return {"name": self.name, "url": self._ask.address, "state": self._state, **known, **able, **trips}

    async def close(self) -> None:
        self._learning.stop()
        await self._leg.close()

    # -- who is there --------------------------------------------------------------------------------------------

    async def _known(self) -> Server:
        if self._server is None:
            self._server = await self._found()
            self._learning.recall(self._server)
        return self._server

    async def _found(self) -> Server:
        profile = self._pinned or await self._identified()
        self._leg.hint = profile.start_hint
        main = await profile.pick_model(self._ask, self._wanted)
        if main is None:
            listed = await self._reach()
            if not listed.ok:
                raise read_error(listed.status, listed.body, profile.dialect)
            raise NotFound(
                f"{profile.label} at {self._leg.url} lists no model; load one there, or name one with --model."
            )
        if self._model_path and main.id in PLACEHOLDER_MODELS:
            main = Model(main.id, self._model_path)
        small = main
        if self._wanted_small and not profile.one_model:
            small = await profile.pick_model(self._ask, self._wanted_small) or main
        return Server(profile, main, small, await profile.version_at(self._ask) if self._asks_version else "")

    async def _identified(self) -> ServerProfile:
        await self._reach()
        profile = await identify(self._ask)
        if profile is None:
            raise BackendBusy(
                f"{self._leg.url} answers too slowly to tell what kind of server it is; it may be busy.",
                hint="Name the kind of server in the settings, and it need not be found out.",
                retry_after_s=UNDECIDED_RETRY_S,
            )
        return profile

    async def _reach(self) -> Answer:
        """The model list; raises what keeps it away."""
        try:
            return await self._ask.insist(MODELS)
        except BackendTimeout as slow:
            raise BackendBusy(slow.message, retry_after_s=UNDECIDED_RETRY_S) from None
        except BackendUnavailable:
            self._forget()
            raise

    def _forget(self) -> None:
        """Nobody is there; another server, model or window may be when somebody is again."""
        self._server, self._state, self._window_asked_again = None, "down", -math.inf

    # -- the request ---------------------------------------------------------------------------------------------

    async def _post(self, body: JsonObject, call: Call, profile: ServerProfile) -> Incoming:
        # quirk(mlx-lm): the path must match exactly (no query), and a body without Content-Length is refused.
        headers = [("Content-Type", "application/json"), ("Accept", "text/event-stream"), *self._headers]
        if profile.hears_lanes:
            headers += [("X-Anyclaude-Lane", quote(call.lane)), ("X-Anyclaude-Side", "1" if call.background else "0")]
        try:
            incoming = await self._leg.open(
                "POST", self._ask.at(CHAT), headers=headers, body=orjson.dumps(body), prompt_tokens=call.computed_tokens
            )
        except BackendUnavailable:
            self._forget()
            raise
        self._state = "up"
        return incoming

    def _body(self, server: Server, model: Model, request: Request, original: Request) -> tuple[JsonObject, list[str]]:
        dialect = self._dialect(server.profile, model)
        adapter, names = self._adapter(model), self._names(original, server.profile)
        request = adapter.adapt(request)
        body, notes = to_openai(request, dialect, model=model.id, names=names)
        if server.profile.hears_tools and (differing := _callable(request, adapter.shown_tools(original), body, names)):
            body["callable_tools"] = differing
        return body | self._extra_body, notes

    def _dialect(self, profile: ServerProfile, model: Model) -> Dialect:
        dialect = self._adapter(model).dialect(profile.dialect, model.name)
        able = self._learning.found
        return able.applied(dialect) if able else dialect

    def _adapter(self, model: Model) -> Adapter:
        return adapter_named(self._adapter_name, model.name)

    def _names(self, original: Request, profile: ServerProfile) -> ToolNames:
        return ToolNames.for_tools(original.offered_tools(), profile.dialect.name_chars)

    async def _refuse_failure(self, incoming: Incoming, profile: ServerProfile, call: Call) -> None:
        """Raise what an answer without success means; its connection is closed."""
        if 200 <= incoming.status < 300:
            if incoming.content_type != "text/html":
                return
            await incoming.close()
            raise BackendFailed(
                f"{self._leg.url} answered with a web page instead of the API.",
                hint="Is the address right? That of an OpenAI-compatible API usually ends in /v1.",
            )
        try:
            body = await incoming.read()
        except AnyclaudeError:
            body = b""
        finally:
            await incoming.close()
        raise read_error(
            incoming.status,
            body,
            profile.dialect,
            prompt_tokens=call.prompt_tokens,
            window_tokens=self._window,
            retry_after_s=_whole_seconds(incoming.header("retry-after")),
        )


def _callable(
    request: Request, shown: Mapping[str, JsonObject], body: JsonObject, names: ToolNames
) -> list[JsonObject]:
    """What may be called, deferred tools too, by the schemas that hold; empty where the body's `tools` say it all."""
    may_be_called = request.offered_tools().keys() | defined_below(request)
    schemas = {names.to_backend(name): schema for name, schema in shown.items() if name in may_be_called}
    told = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools", ())}
    functions = [{"name": name, "parameters": schema} for name, schema in schemas.items()]
    return [{"type": "function", "function": function} for function in functions] if schemas != told else []


def _wanted(model: str | None) -> str | None:
    return None if not model or model in PLACEHOLDER_MODELS else model


def _start_hint(profile: ServerProfile | None, root: str) -> str:
    """How to start what is missing: the kind that was named, else those that usually listen on that port."""
    if profile is not None:
        return profile.start_hint
    usual = [p.start_hint for p in LOCAL_SERVERS if p.port == urlsplit(root).port]
    return "; or ".join(usual) or GENERIC.start_hint


def _whole_seconds(text: str) -> int | None:
    """`retry-after` in seconds; its other form, a date, is not worth the trouble."""
    try:
        return max(1, math.ceil(float(text)))
    except ValueError:
        return None
