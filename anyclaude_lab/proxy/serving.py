"""What every handler of one running proxy shares."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from anyclaude_lab.backends.base import Call
from anyclaude_lab.backends.breaker import Breaker, GatedBackend
from anyclaude_lab.backends.cluster import ClusterBackend
from anyclaude_lab.backends.search import SearchService
from anyclaude_lab.errors import AnyclaudeError, InvalidRequest, RequestTooLarge
from anyclaude_lab.exchange import Exchange, Variant
from anyclaude_lab.prompt.sections import measured
from anyclaude_lab.proxy.door import Door
from anyclaude_lab.proxy.live import LiveFeed
from anyclaude_lab.proxy.log import Log
from anyclaude_lab.proxy.metrics import Metrics
from anyclaude_lab.proxy.recording import trace_entry
from anyclaude_lab.proxy.retry_join import RetryJoin
from anyclaude_lab.settings import Secret, Settings
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.headers import ClientHints

if TYPE_CHECKING:
    from anyclaude_lab.trace.record import Recording
    from anyclaude_lab.trace.store import Recorder

MAX_BODY_BYTES = 64 * 1024 * 1024
CLIENT_LEFT = 499  # the status in log and metrics of a request whose client did not wait for the end
GIVEN = web.RequestKey("given", int)  # the status of an answer whose client left once it had the whole message


@dataclass(slots=True)
class Serving:
    """One proxy's parts. `commit_s` and `ping_s` are seconds of waiting before a stream shows a sign of life."""

    settings: Settings
    variant: Variant
    log: Log
    breaker: Breaker | None = None
    metrics: Metrics = field(default_factory=Metrics)
    live: LiveFeed = field(default_factory=LiveFeed)
    commit_s: float = 10.0
    ping_s: float = 10.0
    access_token: Secret | None = None  # for other machines
    joins: RetryJoin = field(init=False)
    door: Door = field(init=False)
    models: Sequence[str] = ()  # ids offered by /v1/models
    search: Sequence[SearchService] = ()  # asked in this order
    recorder: Recorder | None = None  # None: sessions are not recorded
    begin_recording: Callable[[], Recorder] | None = None  # how recording is switched on; None: it cannot be

    def __post_init__(self) -> None:
        self.joins = RetryJoin(self.settings.retry_grace_s, self.metrics)
        self.door = Door(self.settings.host, self.access_token)

    def backend_status(self) -> JsonObject:
        """What the backend says of itself, without the keys that a server's error may have repeated."""
        cleaned: JsonObject = orjson.loads(self.log.clean(orjson.dumps(self.variant.backend.status()).decode()))
        return cleaned

    @property
    def cluster(self) -> ClusterBackend | None:
        """What answers, where that is several nodes."""
        backend = self.variant.backend
        behind = backend.backend if isinstance(backend, GatedBackend) else backend
        return behind if isinstance(behind, ClusterBackend) else None

    def nodes(self) -> Sequence[JsonObject]:
        """What is known of each node of the cluster; nothing where there is none."""
        return self.cluster.status()["nodes"] if self.cluster else ()

    def recording(self) -> Recording | None:
        """Where the bytes that one client gets are noted; None where sessions are not recorded."""
        if self.recorder is None:
            return None
        from anyclaude_lab.trace.record import Recording

        return Recording()

    def started(self, exchange: Exchange, call: Call, hints: ClientHints) -> None:
        """Tell the live feed that a request is on its way."""
        self.live.publish("started", **asked_facts(exchange, call, hints))

    def finished(
        self,
        exchange: Exchange,
        hints: ClientHints,
        *,
        status: int,
        recording: Recording | None = None,
        last: bool = True,
    ) -> None:
        """Account for an exchange that is over for a client, however it ended; for its `last` one, for its cost."""
        self.metrics.endings.labels(exchange.ending.value).inc()
        if last:
            self._count(exchange)
        facts = exchange_facts(exchange, hints, status)
        if exchange.usage.prompt_tokens is not None:
            facts["prefix_change"] = self.live.prefix_change(exchange.call.lane, exchange.sent)
        if facts["error"]:
            facts["error"] = self.log.clean(facts["error"])
        self.live.publish("finished", **facts)
        self.log.exchange(facts, exchange)
        if self.recorder is not None and recording is not None:
            self.recorder.put(trace_entry(exchange, hints, facts, status, recording))

    def _count(self, exchange: Exchange) -> None:
        self.metrics.usage(exchange.usage)
        if exchange.first_content_s is not None:
            self.metrics.ttft_s.observe(exchange.first_content_s)
        for name, characters in removed_characters(exchange).items():
            self.metrics.saved_characters.labels(name).inc(characters)

    def refused(self, request_id: str, failure: AnyclaudeError, *, told: bool = False) -> web.Response:
        """The answer to a request that failed; `told` where `finished` has accounted for it already."""
        if not told:
            self.failed(request_id, failure)
        failure.message = self.log.clean(failure.message)  # a backend may have repeated a key of ours
        return error_response(failure, request_id)

    def failed(self, request_id: str, failure: AnyclaudeError) -> None:
        """Tell log and live feed of a failure that no exchange accounts for."""
        self.log.failure(request_id, failure)
        error = self.log.clean(failure.message)
        self.live.publish(
            "failed", id=request_id, at=time.time(), status=failure.status, error=error, hint=failure.hint
        )


def exchange_facts(exchange: Exchange, hints: ClientHints, status: int) -> JsonObject:
    """One finished exchange as the live feed and the log tell it. Unknown is None."""
    seconds = {
        "queue_s": exchange.prefill_began_s,
        "headers_s": exchange.headers_s,
        "ttft_s": exchange.first_content_s,
        "total_s": exchange.finished_s,
    }
    return {
        **asked_facts(exchange, exchange.call, hints),
        "backend": exchange.reply.backend if exchange.reply else exchange.variant.backend.name,
        "chosen": exchange.reply.why if exchange.reply else None,
        "status": status,
        "ending": exchange.ending.value,
        "stop_reason": exchange.stop_reason,
        "tools": exchange.tool_names,
        "prompt_tokens": exchange.usage.prompt_tokens,
        "cached_tokens": exchange.usage.cached_tokens,
        "output_tokens": exchange.usage.output_tokens,
        "removed_characters": removed_characters(exchange),
        "sent_characters": _sent_characters(exchange),
        "error": exchange.failure.message if exchange.failure else None,
        "hint": exchange.failure.hint if exchange.failure else None,
        **{k: None if v is None else round(v, 4) for k, v in seconds.items()},
    }


def asked_facts(exchange: Exchange, call: Call, hints: ClientHints) -> JsonObject:
    """What is known of a request before its answer."""
    session, _, agent = call.lane.partition("/")
    return {
        "id": call.request_id,
        "at": time.time(),
        "lane": f"{session[:8]}/{agent[:8]}",
        "session": (hints.session_id or "")[:8] or None,
        "class": hints.request_class or ("auxiliary" if call.background else None),
        "agent": hints.agent_type,
        "path": call.path_qs.partition("?")[0],
        "model": call.original.model,
        "estimated_prompt_tokens": exchange.count.tokens if exchange.count else None,
    }


def _sent_characters(exchange: Exchange) -> int | None:
    if not exchange.steps:
        return None
    return exchange.reports[-1].after.total if exchange.reports else measured(exchange.sent, len).total


def removed_characters(exchange: Exchange) -> dict[str, int]:
    """What each transform took out of the prompt; those that took nothing are left out."""
    sizes = {step.name: step.before.total - step.after.total for step in exchange.reports}
    return {name: size for name, size in sizes.items() if size > 0}


def new_request_id() -> str:
    """Our id of one request, sent back as `request-id`."""
    return os.urandom(12).hex()


def error_response(failure: AnyclaudeError, request_id: str) -> web.Response:
    """A failure in the Messages API's envelope."""
    return web.json_response(
        failure.body() | {"request_id": f"req_{request_id}"},
        status=failure.status,
        headers=failure.headers() | {"request-id": f"req_{request_id}"},
    )


async def read_body(http: web.Request) -> bytes:
    """The request's body. Raises `RequestTooLarge` over the cap, unread; `InvalidRequest` where it is broken."""
    if (http.content_length or 0) > MAX_BODY_BYTES:
        raise RequestTooLarge(_too_large(http.content_length))
    try:
        return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise RequestTooLarge(_too_large(None)) from None
    except web.RequestPayloadError as error:
        raise InvalidRequest(f"The request body cannot be read ({' '.join(str(error).split())}).") from None


def _too_large(size_bytes: int | None) -> str:
    found = f"{size_bytes} bytes" if size_bytes else "more than that"
    return f"The request body is too large: {MAX_BODY_BYTES} bytes are allowed, {found} were sent."
