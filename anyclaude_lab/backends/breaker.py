"""A circuit breaker that gates: after repeated failures a backend is left alone for a while, then tried by one request.

`Breaker` is the state machine (the clock is handed in); `GatedBackend` puts it in front of a backend. Only a backend
that cannot answer counts as a failure: a refused request (4xx) and a client that went away do not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from anyclaude_lab.backends.base import Backend, Call, Reply
from anyclaude_lab.errors import AnyclaudeError, BackendFailed, BackendTimeout, BackendUnavailable
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request


class State(IntEnum):
    """The numbers are those of the metric `anyclaude_circuit_breaker_state`."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


@dataclass(slots=True)
class Breaker:
    """CLOSED -(failure_threshold failures in a row)-> OPEN -(retry_s later)-> HALF_OPEN, one probe at a time.

    success_threshold successes close it again, any failure in HALF_OPEN opens it. Times are seconds of one clock.
    """

    failure_threshold: int = 5
    success_threshold: int = 2
    retry_s: float = 30.0
    enabled: bool = True
    state: State = State.CLOSED
    failures_in_a_row: int = 0
    successes_in_a_row: int = 0
    failures_total: int = 0
    successes_total: int = 0
    next_attempt: float = 0.0
    probing: bool = False
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=1000))

    def admit(self, now: float) -> bool:
        """Whether a request may go to the backend now."""
        if not self.enabled or self.state is State.CLOSED:
            return True
        if self.state is State.OPEN and now >= self.next_attempt:
            self.state, self.successes_in_a_row, self.probing = State.HALF_OPEN, 0, False
        if self.state is State.HALF_OPEN and not self.probing:
            self.probing = True
            return True
        return False

    def succeeded(self, latency_s: float) -> None:
        """The backend answered; `latency_s` is the time to its response headers."""
        self.latencies_s.append(latency_s)
        self.successes_total += 1
        self.failures_in_a_row, self.probing = 0, False
        self.successes_in_a_row += 1
        if self.state is State.HALF_OPEN and self.successes_in_a_row >= self.success_threshold:
            self.state = State.CLOSED

    def failed(self, now: float) -> None:
        """The backend could not answer."""
        self.failures_total += 1
        self.failures_in_a_row += 1
        self.successes_in_a_row, self.probing = 0, False
        if self.state is State.HALF_OPEN or self.failures_in_a_row >= self.failure_threshold:
            self.state, self.next_attempt = State.OPEN, now + self.retry_s

    def abandoned(self) -> None:
        """The client went away, or the request itself was refused: says nothing about the backend."""
        self.probing = False

    def retry_after_s(self, now: float) -> int:
        """Whole seconds until asking again makes sense."""
        return max(1, math.ceil(self.next_attempt - now))

    def snapshot(self) -> JsonObject:
        """The seed's names, for `/v1/circuit-breaker/metrics`."""
        samples = sorted(self.latencies_s)

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
            "latencySamples": len(samples),
            "avgLatencyMs": round(sum(samples) / len(samples) * 1000, 3) if samples else None,
            "minLatencyMs": pick(0),
            "maxLatencyMs": pick(1),
            "p50LatencyMs": pick(0.5),
            "p95LatencyMs": pick(0.95),
            "p99LatencyMs": pick(0.99),
        }


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
        started = self._clock()
        if not self.breaker.admit(started):
            wait_s = self.breaker.retry_after_s(started)
            raise BackendUnavailable(
                f"The backend {self.name} failed repeatedly and is left alone; the next attempt is in {wait_s} s.",
                retry_after_s=wait_s,
            )
        try:
            reply = await self.backend.send(request, call)
        except (BackendUnavailable, BackendTimeout, BackendFailed):
            self.breaker.failed(self._clock())
            raise
        except AnyclaudeError:
            self.breaker.succeeded(self._clock() - started)  # a refusal is an answer
            raise
        except BaseException:
            self.breaker.abandoned()
            raise
        if reply.status >= 500:
            self.breaker.failed(self._clock())
        else:
            self.breaker.succeeded(self._clock() - started)
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
