"""The breaker against a model of it, and its gate in front of a backend that does what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from anyclaude_lab.backends.base import Call, Reply, Taker
from anyclaude_lab.backends.breaker import PROBE_RETRY_S, Admission, Breaker, GatedBackend, State
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendBusy,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    InvalidRequest,
    RateLimited,
    StreamCut,
)
from anyclaude_lab.wire.decoder import Decoder, Ending
from anyclaude_lab.wire.events import Event, JsonObject, Usage
from anyclaude_lab.wire.request import Request
from tests.backends.calls import make_call, make_request

THRESHOLD, PROBES, RETRY_S = 3, 2, 10.0


@dataclass
class Model:
    """What a breaker should be, from the story it has seen: one line per verdict since the last change of state."""

    state: str = "closed"
    until: float = 0.0
    story: list[str] = field(default_factory=list)
    counting: set[int] = field(default_factory=set)  # requests whose verdict still says something

    def change(self, state: str) -> None:
        self.state, self.story, self.counting = state, [], set()

    def admits(self, now: float) -> bool:
        if self.state == "open" and now >= self.until:
            self.change("trying")
        return self.state == "closed" or (self.state == "trying" and not self.counting)

    def verdict(self, number: int, word: str, now: float) -> None:
        if number not in self.counting:
            return
        self.counting.discard(number)
        if word == "abandoned":
            return
        self.story.append(word)
        if self.state == "trying" and word == "failed":
            self.change("open")
            self.until = now + RETRY_S
        elif self.state == "trying" and self.story[-PROBES:] == ["succeeded"] * PROBES:
            self.change("closed")
        elif self.state == "closed" and self.story[-THRESHOLD:] == ["failed"] * THRESHOLD:
            self.change("open")
            self.until = now + RETRY_S


NAMES = {State.CLOSED: "closed", State.OPEN: "open", State.HALF_OPEN: "trying"}


class BreakerAgainstModel(RuleBasedStateMachine):
    """Any order of requests, answers, failures, departures and waiting; answers may come very late or twice."""

    made: type[Breaker] = Breaker

    @initialize()
    def begin(self) -> None:
        self.breaker = self.made(THRESHOLD, PROBES, RETRY_S)
        self.model = Model()
        self.now = 1000.0
        self.given: list[Admission] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, RETRY_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        admitted = self.breaker.admit(self.now)
        assert (admitted is not None) is self.model.admits(self.now)
        if admitted is not None:
            self.model.counting.add(len(self.given))
            self.given.append(admitted)

    @rule(word=st.sampled_from(["succeeded", "failed", "abandoned"]), which=st.integers(0, 30))
    def tell(self, word: str, which: int) -> None:
        if not self.given:
            return
        number = -1 - which % len(self.given)  # the young ones first: shrinking finds the shortest story
        admission = self.given[number]
        if word == "failed":
            self.breaker.failed(admission, self.now)
        elif word == "succeeded":
            self.breaker.succeeded(admission)
        else:
            self.breaker.abandoned(admission)
        self.model.verdict(len(self.given) + number, word, self.now)

    @invariant()
    def agrees(self) -> None:
        assert NAMES[self.breaker.state] == self.model.state
        assert self.breaker.retry_after_s(self.now) >= 1
        if self.breaker.state is State.OPEN:
            assert self.breaker.retry_after_s(self.now) <= RETRY_S


SHORT = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestBreakerAgainstModel = BreakerAgainstModel.TestCase
TestBreakerAgainstModel.settings = SHORT


class ForgetsWhoAsked(Breaker):
    """Counts every verdict, whoever it is about."""

    def _settle(self, admission: Admission) -> bool:
        self._probe = None
        object.__setattr__(admission, "epoch", self._epoch)
        return True


class ForgetsTheProbe(Breaker):
    """Lets everybody in while it is being tried."""

    def admit(self, now: float) -> Admission | None:
        self._probe = None
        return super().admit(now)


Step = Callable[[BreakerAgainstModel], None]


def ask(machine: BreakerAgainstModel) -> None:
    machine.ask()


def fail(machine: BreakerAgainstModel) -> None:
    machine.tell("failed", 0)


def wait(machine: BreakerAgainstModel) -> None:
    machine.wait(RETRY_S)


STORIES: dict[type[Breaker], list[Step]] = {
    ForgetsWhoAsked: [ask, fail, fail, fail],
    ForgetsTheProbe: [*[ask, fail] * THRESHOLD, wait, ask, ask],
}


def play(breaker: type[Breaker], story: list[Step]) -> None:
    machine = type("Played", (BreakerAgainstModel,), {"made": breaker})()
    machine.begin()
    for step in story:
        step(machine)
        machine.agrees()


@pytest.mark.parametrize("broken", STORIES)
def test_the_model_sees_a_breaker_that_is_wrong(broken: type[Breaker]) -> None:
    play(Breaker, STORIES[broken])
    with pytest.raises(AssertionError):
        play(broken, STORIES[broken])


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(THRESHOLD, PROBES, RETRY_S)
    for _ in range(THRESHOLD):
        admission = breaker.admit(now)
        assert admission is not None
        breaker.failed(admission, now)
    assert breaker.state is State.OPEN
    return breaker


def test_an_old_reply_neither_frees_the_probes_place_nor_closes_the_breaker() -> None:
    breaker = Breaker(THRESHOLD, 1, RETRY_S)
    old = [breaker.admit(0) for _ in range(THRESHOLD + 2)]
    for admission in old[:THRESHOLD]:
        assert admission is not None
        breaker.failed(admission, 0)
    probe = breaker.admit(RETRY_S)
    assert probe is not None and probe.probe
    assert old[-1] is not None and old[-2] is not None
    breaker.succeeded(old[-1])
    breaker.failed(old[-2], RETRY_S)
    assert breaker.state is State.HALF_OPEN
    assert breaker.admit(RETRY_S) is None
    breaker.succeeded(probe)
    assert NAMES[breaker.state] == "closed"


def test_a_probe_that_was_given_up_is_followed_by_another() -> None:
    breaker = opened()
    first = breaker.admit(RETRY_S)
    assert first is not None and breaker.admit(RETRY_S) is None
    assert breaker.retry_after_s(RETRY_S) == PROBE_RETRY_S
    breaker.abandoned(first)
    assert breaker.admit(RETRY_S) is not None


def test_a_breaker_that_is_switched_off_never_refuses() -> None:
    breaker = Breaker(1, 1, RETRY_S, enabled=False)
    for _ in range(5):
        admission = breaker.admit(0)
        assert admission is not None
        breaker.failed(admission, 0)


def begin(breaker: Breaker, now: float, latency_s: float, prompt_s: float = 0.0) -> None:
    """One answer that begins so late, and is whole at once."""
    admission = breaker.admit(now)
    assert admission is not None
    breaker.began(admission, now, latency_s, prompt_s)
    breaker.succeeded(admission)


def watchful() -> Breaker:
    return Breaker(THRESHOLD, 1, RETRY_S, latency_window_s=60, latency_threshold_s=5, latency_checks=3)


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([(0, 5.0), (1, 9.0), (2, 7.0)], "OPEN"),
        ([(0, 5.0), (1, 4.9), (2, 9.0), (3, 9.0)], "CLOSED"),  # one was quick
        ([(0, 9.0), (1, 9.0), (70, 9.0)], "CLOSED"),  # two are too long ago
        ([(0, 9.0), (30, 9.0), (60, 9.0)], "OPEN"),
    ],
)
def test_slow_answers_in_a_row_open_it(answers: list[tuple[float, float]], state: str) -> None:
    breaker = watchful()
    for now, latency_s in answers:
        begin(breaker, now, latency_s)
    assert breaker.state.name == state
    assert breaker.failures_total == 0


def test_what_the_prompt_takes_is_not_slow_and_without_a_threshold_nothing_is() -> None:
    for breaker, prompt_s in ((watchful(), 100.0), (Breaker(), 0.0)):
        for now in range(10):
            begin(breaker, now, 104.0, prompt_s)
        assert breaker.state is State.CLOSED


def test_a_slow_probe_opens_it_again_and_a_quick_one_closes_it() -> None:
    breaker = watchful()
    for now in range(3):
        begin(breaker, now, 9.0)
    begin(breaker, 3 + RETRY_S, 9.0)
    assert (breaker.state.name, breaker.why_opened) == ("OPEN", "was too slow")
    begin(breaker, 3 + 2 * RETRY_S, 1.0)
    assert breaker.state.name == "CLOSED"


def test_latencies_are_those_of_the_last_while() -> None:
    breaker = Breaker(latency_window_s=60)
    for now, latency_s in ((0.0, 9.0), (50.0, 0.2), (55.0, 0.1)):
        begin(breaker, now, latency_s)
    assert breaker.latencies_s(61.0) == [0.1, 0.2]
    told = breaker.snapshot(61.0)
    assert (told["latencySamples"], told["minLatencyMs"], told["p99LatencyMs"]) == (2, 100, 200)
    assert breaker.snapshot(200.0)["avgLatencyMs"] is None


# The gate


class FakeDecoder:
    """Reads nothing; its failure is what the test says."""

    ending: Ending = Ending.OPEN
    usage: Usage = Usage()
    progress: tuple[int, int] | None = None

    def __init__(self, failure: AnyclaudeError | None) -> None:
        self.failure = failure

    def feed(self, data: bytes) -> list[Event]:
        return []

    def close(self) -> list[Event]:
        return []


class Scripted:
    """Answers with these pieces, then with the end or a failure; or refuses."""

    name, translating, loses_prefill_on_abort = "scripted", True, False

    def __init__(self) -> None:
        self.refusal: AnyclaudeError | None = None
        self.pieces: list[bytes] = [b"data: {}\n\n"]
        self.breaks: AnyclaudeError | None = None
        self.said: AnyclaudeError | None = None
        self.status_code = 200
        self.takers: list[Taker | None] = []  # who was to take what comes
        self.asked = 0

    async def send(self, request: Request, call: Call) -> Reply:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal

        async def body() -> AsyncIterator[bytes]:
            for piece in self.pieces:
                yield piece
            if self.breaks is not None:
                raise self.breaks

        async def close() -> None:
            return None

        decoder: Decoder = FakeDecoder(self.said)
        return Reply(self.status_code, (), body(), decoder, close, hand_to=self.takers.append)

    async def count(self, request: Request) -> int | None:
        return None

    async def window_tokens(self) -> int | None:
        return None

    async def health(self) -> str | None:
        return None

    def status(self) -> JsonObject:
        return {"name": self.name}

    async def close(self) -> None:
        return None


class Gate:
    def __init__(self, threshold: int = THRESHOLD, probes: int = 1, latency_s: float | None = None) -> None:
        self.now = 0.0
        self.backend = Scripted()
        self.breaker = Breaker(threshold, probes, RETRY_S, latency_threshold_s=latency_s)
        self.gated = GatedBackend(self.backend, self.breaker, lambda: self.now)

    async def send(self) -> Reply:
        request = make_request()
        return await self.gated.send(request, replace(make_call(request), prompt_tokens=100))  # two seconds

    async def ask(self, *, read: int | None = None) -> None:
        """Ask, read so many pieces (all by default), let go; the backend's failures are swallowed."""
        try:
            reply = await self.send()
        except AnyclaudeError:
            return
        pieces = 0
        try:
            while read is None or pieces < read:
                await anext(reply.body)
                pieces += 1
        except (StopAsyncIteration, AnyclaudeError):
            pass
        await reply.close()


@pytest.mark.parametrize("refusal", [BackendUnavailable("x"), BackendTimeout("x"), BackendFailed("x")])
async def test_a_backend_that_cannot_answer_opens_the_gate(refusal: AnyclaudeError) -> None:
    gate = Gate()
    gate.backend.refusal = refusal
    for _ in range(THRESHOLD + 3):
        await gate.ask()
    assert gate.backend.asked == THRESHOLD
    with pytest.raises(BackendUnavailable, match="left alone") as refused:
        await gate.send()
    assert refused.value.status == 529
    assert refused.value.headers() == {"retry-after": "10"}


async def test_a_backend_too_busy_to_be_asked_has_not_failed() -> None:
    gate = Gate()
    gate.backend.refusal = BackendBusy("x", retry_after_s=5)
    for _ in range(THRESHOLD + 3):
        await gate.ask()
    assert gate.breaker.state is State.CLOSED
    assert gate.backend.asked == THRESHOLD + 3


@pytest.mark.parametrize("failure", [StreamCut("x"), BackendTimeout("x")])
async def test_a_backend_that_answers_and_then_breaks_opens_it_too(failure: AnyclaudeError) -> None:
    gate = Gate()
    gate.backend.breaks = failure
    for _ in range(THRESHOLD):
        await gate.ask()
    assert gate.breaker.state is State.OPEN


async def test_a_failure_said_in_the_stream_counts() -> None:
    gate = Gate()
    gate.backend.said = BackendFailed("out of memory")
    for _ in range(THRESHOLD):
        await gate.ask()
    assert gate.breaker.state is State.OPEN


@pytest.mark.parametrize("refusal", [InvalidRequest("x"), RateLimited("x")])
async def test_refused_requests_do_not_open_it(refusal: AnyclaudeError) -> None:
    gate = Gate(threshold=1)
    gate.backend.refusal = refusal
    for _ in range(5):
        await gate.ask()
    assert (gate.breaker.state, gate.backend.asked) == (State.CLOSED, 5)


@pytest.mark.parametrize(("waited_s", "state"), [(11.0, "CLOSED"), (12.0, "OPEN")])
async def test_a_backend_that_begins_late_opens_it_where_that_was_asked_for(waited_s: float, state: str) -> None:
    gate = Gate(latency_s=10.0)
    gate.backend.pieces = [b": keepalive 1/9\n\n", b"data: {}\n\n", b"data: {}\n\n"]
    for _ in range(3):
        reply = await gate.send()
        await anext(reply.body)
        gate.now += waited_s
        await anext(reply.body)  # its first data
        gate.now += 100.0  # what comes later may take its time
        async for _piece in reply.body:
            pass
        await reply.close()
    assert gate.breaker.state.name == state
    if state == "OPEN":
        gate.now = gate.breaker.next_attempt - 1
        with pytest.raises(BackendUnavailable, match="too slow repeatedly"):
            await gate.send()


@pytest.mark.parametrize("read", [0, 1])
async def test_clients_that_leave_do_not_open_it(read: int) -> None:
    gate = Gate(threshold=1)
    gate.backend.pieces = [b": keepalive 1/9\n\n", b"data: {}\n\n"]
    for _ in range(5):
        await gate.ask(read=read)
    assert (gate.breaker.state, gate.breaker.failures_total) == (State.CLOSED, 0)


async def test_a_client_that_leaves_before_the_head_frees_the_probes_place() -> None:
    gate = Gate(threshold=1)
    gate.backend.refusal = BackendFailed("x")
    await gate.ask()
    gate.now = RETRY_S
    waiting = asyncio.Event()

    async def never(request: Request, call: Call) -> Reply:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    working, gate.backend.send = gate.backend.send, never  # type: ignore[method-assign]  # a planted fault
    asking = asyncio.create_task(gate.send())
    await waiting.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gate.backend.send, gate.backend.refusal = working, None  # type: ignore[method-assign]  # a planted fault
    await gate.ask()
    assert gate.breaker.state is State.CLOSED


async def test_a_probe_has_succeeded_with_its_first_data_not_with_its_head() -> None:
    gate = Gate(threshold=1)
    gate.backend.refusal = BackendFailed("x")
    await gate.ask()
    gate.now, gate.backend.refusal = RETRY_S, None
    gate.backend.pieces = [b": keepalive 1/9\n\n", b"da", b"ta: {}\n\n", b"data: {}\n\n"]
    reply = await gate.send()
    for expected in (State.HALF_OPEN, State.HALF_OPEN, State.CLOSED):
        await anext(reply.body)
        assert gate.breaker.state is expected
    await reply.close()


async def test_nobody_takes_a_piece_past_the_gate_before_it_has_seen_the_first_data() -> None:
    gate = Gate()
    gate.backend.pieces = [b"event: message_start\n", b"data: {}\n\n"]
    reply = await gate.send()

    def take(data: bytes) -> bool:
        return True

    reply.hand_to(take)
    await anext(reply.body)
    assert gate.backend.takers == []
    await anext(reply.body)
    assert gate.backend.takers == [take]
    reply.hand_to(None)
    assert gate.backend.takers == [take, None]
    await reply.close()


async def test_a_probe_whose_stream_never_begins_opens_it_again() -> None:
    gate = Gate(threshold=1)
    gate.backend.refusal = BackendFailed("x")
    await gate.ask()
    gate.now, gate.backend.refusal = RETRY_S, None
    gate.backend.pieces, gate.backend.breaks = [b": keepalive 1/9\n\n"], StreamCut("x")
    await gate.ask()
    assert gate.breaker.state.name == "OPEN"
    assert gate.breaker.retry_after_s(gate.now) == RETRY_S
