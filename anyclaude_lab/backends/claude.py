"""Claude itself: every request goes on as it came, every answer comes back as it was sent."""

from __future__ import annotations

import zlib

import orjson

from anyclaude_lab.backends.base import Call, RawHeaders, Reply
from anyclaude_lab.backends.header_bytes import keep_header_bytes
from anyclaude_lab.backends.http import Budgets, HttpLeg, Incoming
from anyclaude_lab.backends.inflate import WINDOW_BITS
from anyclaude_lab.errors import AnyclaudeError, BackendFailed
from anyclaude_lab.wire.anthropic import AnthropicDecoder
from anyclaude_lab.wire.events import Event, JsonObject
from anyclaude_lab.wire.headers import request_headers_to_forward, response_headers_to_forward
from anyclaude_lab.wire.request import Request

ANTHROPIC_URL = "https://api.anthropic.com"
GENUINE = "sk-ant-"  # keys and login tokens of Anthropic begin so
CREDENTIALS = ("x-api-key", "authorization")
MADE_HERE: RawHeaders = (("content-type", "application/json"), ("anthropic-version", "2023-06-01"))


class ClaudeBackend:
    """Byte-identical passthrough of any path and method.

    The client's own credential travels on. `api_key` is used only where the client sent none or a placeholder.
    A refusal is an answer like any other: Claude Code reacts to its exact words.
    """

    translating = False
    loses_prefill_on_abort = False

    def __init__(
        self,
        base_url: str = ANTHROPIC_URL,
        *,
        api_key: str | None = None,
        budgets: Budgets | None = None,
        name: str = "claude",
    ) -> None:
        keep_header_bytes()
        self.name = name
        hint = "check the network, and the proxy variables of the shell"
        self._leg = HttpLeg(base_url.rstrip("/").removesuffix("/v1"), budgets=budgets, hint=hint)
        self._api_key = api_key
        self._state = "unknown"

    async def send(self, request: Request, call: Call) -> Reply:
        """Pass the call through. A request without headers was made here and gets those that the API asks for."""
        body = call.body if call.headers else request.raw or orjson.dumps(request.body)
        headers = self._with_credential(request_headers_to_forward(call.headers or MADE_HERE))
        try:
            incoming = await self._leg.open(call.method, call.path_qs, headers=headers, body=body)
        except AnyclaudeError:
            self._state = "down"
            raise
        self._state = "up"
        return Reply(
            status=incoming.status,
            headers=response_headers_to_forward(incoming.headers),
            body=incoming,
            decoder=_witness(incoming),
            close=incoming.close,
            backend=self.name,
            model=request.body.get("model") or None,
            hand_to=incoming.hand_to,
        )

    async def count(self, request: Request) -> int | None:
        """None: the client asks the API by itself."""
        return None

    async def window_tokens(self) -> int | None:
        """None: the client knows its own models."""
        return None

    async def health(self) -> str | None:
        answer = await self._leg.ask("HEAD", "/")
        self._state = "down" if answer is None else "up"
        return None if answer is not None else f"Nothing answers at {self._leg.url}; {self._leg.hint}"

    def status(self) -> JsonObject:
        return {"name": self.name, "url": self._leg.url, "state": self._state}

    async def close(self) -> None:
        await self._leg.close()

    def _with_credential(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        given = [value.removeprefix("Bearer ") for name, value in headers if name.lower() in CREDENTIALS]
        if self._api_key is None or any(value.startswith(GENUINE) for value in given):
            return headers
        return [(n, v) for n, v in headers if n.lower() not in CREDENTIALS] + [("x-api-key", self._api_key)]


class InflatingDecoder(AnthropicDecoder):
    """Witness of a compressed stream. Its events keep the inflated bytes, which are not those on the wire."""

    def __init__(self, window_bits: int) -> None:
        super().__init__()
        self._inflate = zlib.decompressobj(window_bits)
        self._blind = False

    def feed(self, data: bytes, *, skim: bool = False) -> list[Event]:
        if self._blind:
            return []
        try:
            return super().feed(self._inflate.decompress(data), skim=skim)
        except zlib.error as error:
            self._blind = True  # the client reads the bytes all the same
            self.failure = BackendFailed(f"The stream is not compressed as its header says: {error}")
            return []


def _witness(incoming: Incoming) -> AnthropicDecoder | None:
    """A reader of the copy; None for what is no stream of messages, or compressed in a way we cannot read."""
    if incoming.content_type != "text/event-stream" or not 200 <= incoming.status < 300:
        return None
    encoding = incoming.header("content-encoding").strip().lower()
    if encoding in ("", "identity"):
        return AnthropicDecoder()
    return InflatingDecoder(WINDOW_BITS[encoding]) if encoding in WINDOW_BITS else None
