"""A circuit breaker that gates: after repeated failures a backend is left alone for a while, then tried by one request.

`Breaker` is the state machine (the clock is handed in); `GatedBackend` puts it in front of a backend. Only a backend
that cannot answer counts as a failure: a refused request (4xx) and a client that went away do not. Where a latency
threshold is set, several slow answers in a row open it too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from anyclaude_lab.backends.base import Backend, Call, Reply, Taker
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendBusy,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    StreamCut,
)
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

LATENCIES_KEPT = 1000
FAILED, SLOW = "failed", "was too slow"
PROBE_RETRY_S = 5  # while a probe is on its way nobody knows how long it takes
FAULTS = (BackendUnavailable, BackendTimeout, BackendFailed, StreamCut)
DATA = b"data:"  # what a line of a stream that says something begins with


class State(IntEnum):
    """The numbers are those of the metric `anyclaude_circuit_breaker_state`."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """One admitted request. Its outcome counts in its own `epoch` only; each change of state begins a new one."""

    epoch: int
    probe: bool


@dataclass(slots=True)
class Breaker:
    """CLOSED -(failure_threshold failures in a row)-> OPEN -(retry_s later)-> HALF_OPEN, one probe at a time.

    success_threshold successful probes close it again, any failed one opens it. Every admission is given back once, as
    succeeded, failed or abandoned; later words about it are ignored. Times are seconds of one clock.

    `latency_checks` answers in a row, all within `latency_window_s`, that began later than `latency_threshold_s` after
    what computing their prompts may take open it as well; a probe so slow counts as failed.
    """

    failure_threshold: int = 5
    success_threshold: int = 2
    retry_s: float = 30.0
    enabled: bool = True
    latency_window_s: float = 300.0
    latency_threshold_s: float | None = None  # None: slow answers never open it
    latency_checks: int = 3
    why_opened: str = FAILED
    state: State = State.CLOSED
    failures_in_a_row: int = 0
    successes_in_a_row: int = 0
    failures_total: int = 0
    successes_total: int = 0
    next_attempt: float = 0.0
    _epoch: int = 0
    _probe: Admission | None = None
    _open: set[Admission] = field(default_factory=set)
    _latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _slow: list[float] = field(default_factory=list)  # when each of the slow answers in a row began

    def admit(self, now: float) -> Admission | None:
        """The right to ask the backend now; None where it is left alone."""
        if self.enabled and self.state is State.OPEN and now >= self.next_attempt:
            self._enter(State.HALF_OPEN)
        if self.enabled and (self.state is State.OPEN or self._probe is not None):
            return None
        admission = Admission(self._epoch, probe=self.state is State.HALF_OPEN)
        if admission.probe:
            self._probe = admission
        self._open.add(admission)
        return admission

    def succeeded(self, admission: Admission) -> None:
        """The backend answered it."""
        if not self._settle(admission):
            return
        self.successes_total += 1
        if admission.epoch != self._epoch:
            return
        self.failures_in_a_row = 0
        self.successes_in_a_row += 1
        if self.state is State.HALF_OPEN and self.successes_in_a_row >= self.success_threshold:
            self._enter(State.CLOSED)

    def failed(self, admission: Admission, now: float) -> None:
        """The backend could not answer it."""
        if not self._settle(admission):
            return
        self.failures_total += 1
        if admission.epoch != self._epoch:
            return
        self.successes_in_a_row = 0
        self.failures_in_a_row += 1
        if self.state is State.HALF_OPEN or (self.enabled and self.failures_in_a_row >= self.failure_threshold):
            self._trip(now, FAILED)

    def abandoned(self, admission: Admission) -> None:
        """The client went away, or the request itself was at fault: says nothing about the backend."""
        self._settle(admission)

    def began(self, admission: Admission, now: float, latency_s: float, prompt_s: float = 0.0) -> None:
        """Its answer began after `latency_s`, of which computing the prompt may have taken `prompt_s`."""
        self._latencies.append((now, latency_s))
        if self.latency_threshold_s is None or admission.epoch != self._epoch or not self.enabled:
            return
        recent = [before for before in self._slow if before >= now - self.latency_window_s]
        self._slow = [*recent, now] if latency_s - prompt_s >= self.latency_threshold_s else []
        if admission.probe and self._slow:
            self.failed(admission, now)
            self.why_opened = SLOW
        elif len(self._slow) >= self.latency_checks:
            self._trip(now, SLOW)

    def latencies_s(self, now: float) -> list[float]:
        """The times to the first data of the last `latency_window_s`, shortest first."""
        while self._latencies and self._latencies[0][0] < now - self.latency_window_s:
            self._latencies.popleft()
        return sorted(latency for _, latency in self._latencies)

    def retry_after_s(self, now: float) -> int:
        """Whole seconds until asking again makes sense."""
        return PROBE_RETRY_S if self.state is State.HALF_OPEN else max(1, math.ceil(self.next_attempt - now))

    def snapshot(self, now: float) -> JsonObject:
        """The seed's names, for `/v1/circuit-breaker/metrics`."""
        samples = self.latencies_s(now)

        def pick(quantile: float) -> float | None:
            if not samples:
                return None
            return round(samples[min(len(samples) - 1, int(quantile * len(samples)))] * 1000, 3)

        return {
            "state": self.state.name,
            "failureCount": self.failures_in_a_row,
            "successCount": self.successes_in_a_row,
            "failuresTotal": self.failures_total,
            "successesTotal": self.successes_total,
            "nextAttemptSeconds": self.retry_after_s(now) if self.state is State.OPEN else None,
            "latencyWindowSeconds": self.latency_window_s,
            "latencySamples": len(samples),
            "consecutiveHighLatency": len(self._slow),
            "avgLatencyMs": round(sum(samples) / len(samples) * 1000, 3) if samples else None,
            "minLatencyMs": pick(0),
            "maxLatencyMs": pick(1),
            "p50LatencyMs": pick(0.5),
            "p95LatencyMs": pick(0.95),
            "p99LatencyMs": pick(0.99),
        }

    def _settle(self, admission: Admission) -> bool:
        """Whether this is the first word about it. Frees the place of the probe if it is the probe's."""
        known = admission in self._open
        self._open.discard(admission)
        if self._probe is admission:
            self._probe = None
        return known

    def _trip(self, now: float, why: str) -> None:
        self.next_attempt, self.why_opened = now + self.retry_s, why
        self._enter(State.OPEN)

    def _enter(self, state: State) -> None:
        self.state, self._probe, self._slow = state, None, []
        self._epoch += 1
        self.successes_in_a_row = 0
        if state is State.CLOSED:
            self.failures_in_a_row = 0


class GatedBackend:
    """A backend behind a breaker."""

    def __init__(self, backend: Backend, breaker: Breaker, clock: Callable[[], float]) -> None:
        self.backend, self.breaker, self._clock = backend, breaker, clock

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def translating(self) -> bool:
        return self.backend.translating

    @property
    def loses_prefill_on_abort(self) -> bool:
        return self.backend.loses_prefill_on_abort

    async def send(self, request: Request, call: Call) -> Reply:
        """Ask, unless the breaker is open: then `BackendUnavailable` with the time to wait."""
        breaker, started = self.breaker, self._clock()
        admission = breaker.admit(started)
        if admission is None:
            wait_s = breaker.retry_after_s(started)
            raise BackendUnavailable(
                f"The backend {self.name} {breaker.why_opened} repeatedly and is left alone; "
                f"the next attempt is in {wait_s} s.",
                retry_after_s=wait_s,
            )
        try:
            reply = await self.backend.send(request, call)
        except BackendBusy:
            breaker.abandoned(admission)  # it was not asked: that says nothing of its answers
            raise
        except FAULTS:
            breaker.failed(admission, self._clock())
            raise
        except AnyclaudeError:
            breaker.succeeded(admission)  # a refusal is an answer
            raise
        except BaseException:
            breaker.abandoned(admission)
            raise
        if reply.status >= 500:
            breaker.failed(admission, self._clock())
        else:
            watched = _Watched(reply, breaker, admission, self._clock, (started, call.prompt_s))
            reply.body, reply.close, reply.hand_to = watched, watched.close, watched.hand_to
        return reply

    async def count(self, request: Request) -> int | None:
        return await self.backend.count(request)

    async def window_tokens(self) -> int | None:
        return await self.backend.window_tokens()

    async def health(self) -> str | None:
        return await self.backend.health()

    def status(self) -> JsonObject:
        return self.backend.status() | {"breaker": self.breaker.state.name}

    async def close(self) -> None:
        await self.backend.close()


class _Watched:
    """The body of a reply; tells the breaker how it went.

    A head alone proves nothing: servers send it before the prefill. A probe has succeeded with its first data, so that
    a long answer keeps nobody waiting; any other request when it is let go.
    """

    def __init__(
        self,
        reply: Reply,
        breaker: Breaker,
        admission: Admission,
        clock: Callable[[], float],
        asked: tuple[float, float],
    ) -> None:
        self._asked_at, self._prompt_s = asked
        self._body: AsyncIterator[bytes] = reply.body
        self._close, self._decoder, self._hand_to = reply.close, reply.decoder, reply.hand_to
        self._taker: Taker | None = None  # who waits for the first data, which has to be seen here
        self._breaker, self._admission, self._clock = breaker, admission, clock
        self._tail = b""
        self._spoke = False  # data came, or the whole body

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await anext(self._body)
        except StopAsyncIteration:
            self._speaks()
            raise
        except FAULTS:
            self._breaker.failed(self._admission, self._clock())
            raise
        if not self._spoke:
            seen = self._tail + data
            self._tail = seen[1 - len(DATA) :]
            if DATA in seen:
                self._speaks()
                if self._admission.probe:
                    self._breaker.succeeded(self._admission)
        return data

    def hand_to(self, taker: Taker | None) -> None:
        """See `Reply.hand_to`; from the first data on."""
        self._taker = taker
        if self._spoke or taker is None:
            self._hand_to(taker)

    def _speaks(self) -> None:
        if not self._spoke:
            self._spoke, now = True, self._clock()
            self._hand_to(self._taker)
            self._breaker.began(self._admission, now, now - self._asked_at, self._prompt_s)

    async def close(self) -> None:
        if self._decoder is not None and isinstance(self._decoder.failure, FAULTS):
            self._breaker.failed(self._admission, self._clock())
        elif self._spoke:
            self._breaker.succeeded(self._admission)
        else:
            self._breaker.abandoned(self._admission)  # the client did not wait
        await self._close()
