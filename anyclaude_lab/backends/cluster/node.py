"""One server of a cluster: what happened to it, and what state that makes. Times are those of the cluster's clock."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.backends.cluster.seen import Seen
from anyclaude_lab.backends.cluster.strategies import State
from anyclaude_lab.errors import AnyclaudeError, BackendTimeout
from anyclaude_lab.wire.events import JsonObject

FIRST_REST_S = 1.0
LATELY_S = 60.0  # how long a request says something about its node
LEAST_OUTCOMES = 5  # fewer say nothing about a share
LATENCY_WEIGHT = 0.3  # of the newest measurement


class NodeBackend(Backend, Protocol):
    """What can be a node: a backend that looks anew, when asked, who is at its address."""

    async def recognise(self) -> None: ...


@dataclass(slots=True)
class Node:
    """One server. It rests after a failure, twice as long each time; then one request, or a check, tries it again."""

    backend: NodeBackend
    seen: Seen
    longest_rest_s: float
    unhealthy_share: float = 0.5
    in_flight: int = 0
    queued_tokens: int = 0
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0  # reported, with how many came from a cache
    cached_tokens: int = 0
    failures_in_a_row: int = 0
    missed_checks: int = 0
    rests_until: float = -math.inf
    draining: bool = False
    on_trial: bool = False  # the one request that tries it is on its way
    silent: bool = False  # asking it costs a long wait
    last_error: str | None = None
    last_why: str | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)  # checks gave it up: what waits there goes elsewhere
    _cut_until: float = -math.inf
    _outcomes: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=100))
    _latency: tuple[float, float] | None = None  # seconds, and when they were measured

    @property
    def name(self) -> str:
        return self.backend.name

    def state(self, now: float) -> State:
        """What it is good for now."""
        if self.draining:
            return State.DRAINING
        if self.failures_in_a_row and self.rests_until > now:
            return State.DOWN
        lately = [ok for when, ok in self._outcomes if now - when <= LATELY_S]
        failing = len(lately) >= LEAST_OUTCOMES and lately.count(False) >= self.unhealthy_share * len(lately)
        return State.DEGRADED if failing or self.on_trial or self._cut_until > now else State.UP

    def latency_s(self, now: float) -> float | None:
        """To the first content, lately; None where nothing was measured lately."""
        return self._latency[0] if self._latency and now - self._latency[1] <= LATELY_S else None

    def spoke(self, now: float, after_s: float) -> None:
        """The first content of an answer came: it works."""
        before_s = self.latency_s(now)
        mean_s = after_s if before_s is None else before_s + LATENCY_WEIGHT * (after_s - before_s)
        self._latency = mean_s, now
        self.worked(now)

    def worked(self, now: float) -> None:
        """It answered, if only with a refusal."""
        self._outcomes.append((now, True))
        self.failures_in_a_row = self.missed_checks = 0
        self.rests_until, self.on_trial, self.last_error = -math.inf, False, None
        self.silent = False
        self.lost.clear()

    def erred(self, error: AnyclaudeError, now: float) -> None:
        """This request failed; the node may be well, since a request can make every node stumble."""
        self.errors += 1
        self._outcomes.append((now, False))
        self.last_error, self.on_trial = error.message, False

    def broke(self, error: AnyclaudeError, now: float) -> None:
        """An answer of it broke off: others first, for a while."""
        self.erred(error, now)
        self._cut_until = now + min(FIRST_REST_S, self.longest_rest_s)

    def went_down(self, error: AnyclaudeError, now: float) -> None:
        """It does not answer. Whatever it had computed may be gone when it comes back."""
        self.erred(error, now)
        self.silent = isinstance(error, BackendTimeout)
        if self.rests_until <= now:  # else others have found so already, and it rests
            self.rest(error.message, now)

    def rest(self, complaint: str, now: float) -> None:
        """Leave it alone for a while."""
        self.failures_in_a_row += 1
        self.rests_until = now + min(FIRST_REST_S * 2.0 ** min(self.failures_in_a_row - 1, 20), self.longest_rest_s)
        self.last_error, self.on_trial = complaint, False
        self.seen.forget()

    def checked(self, complaint: str | None, now: float, misses_allowed: int) -> None:
        """What a health check found. A busy server may miss one; one that is well need not rest any longer."""
        if complaint is None:
            self.missed_checks, self.silent = 0, False
            self.rests_until = -math.inf  # it still has to prove itself by one request
            self.lost.clear()
            return
        self.missed_checks += 1
        if self.failures_in_a_row or self.missed_checks >= misses_allowed:
            self.rest(complaint, now)
            self.silent = True
            self.lost.set()

    def next_check_s(self, now: float, interval_s: float) -> float:
        """How long until it is looked at again: at the end of its rest, else by the interval."""
        rests = self.failures_in_a_row and self.rests_until > -math.inf
        return min(max(self.rests_until - now, 0.0), interval_s) if rests else interval_s

    def reported(self, prompt_tokens: int | None, cached_tokens: int | None) -> None:
        """What its usage says about one prompt."""
        if prompt_tokens and cached_tokens is not None:
            self.prompt_tokens += prompt_tokens
            self.cached_tokens += cached_tokens

    def status(self, now: float) -> JsonObject:
        """For metrics and the live page. `cached_share` of reported prompt tokens; unknown is null."""
        state, latency_s = self.state(now), self.latency_s(now)
        waits = self.failures_in_a_row and self.rests_until > now
        unseen = self.failures_in_a_row and self.rests_until > -math.inf  # since it failed
        return {
            **self.backend.status(),
            "state": State.DOWN if state is State.UP and unseen else state,
            "in_flight": self.in_flight,
            "queued_tokens": self.queued_tokens,
            "requests": self.requests,
            "errors": self.errors,
            "latency_s": None if latency_s is None else round(latency_s, 4),
            "cached_share": round(self.cached_tokens / self.prompt_tokens, 4) if self.prompt_tokens else None,
            "tried_again_in_s": round(self.rests_until - now, 3) if waits else None,
            "last_error": self.last_error,
            "last_choice": self.last_why,
        }
