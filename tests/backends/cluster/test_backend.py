"""The cluster over nodes that do what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from anyclaude_lab.backends.base import Call, Reply
from anyclaude_lab.backends.cluster import ClusterBackend
from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    InvalidRequest,
    NotFound,
    SettingsError,
    StreamCut,
)
from anyclaude_lab.settings import ClusterSettings
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.request import Request
from tests.backends.calls import make_call, make_request, read_events
from tests.standins.http import wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Refusal, reply

RETRY_S = 10.0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeNode:
    """Answers `ok`, or raises `failure`; `cut` breaks its stream after the first piece."""

    translating = True

    def __init__(self, name: str, *, loses_prefill: bool = False) -> None:
        self.name = name
        self.loses_prefill_on_abort = loses_prefill
        self.failure: AnyclaudeError | None = None
        self.cut: AnyclaudeError | None = None
        self.window: int | None = None
        self.tokens: int | None = None
        self.asked = 0
        self.hung_up = 0
        self.clock: Clock | None = None
        self.takes_s = 0.0
        self.closed = False
        self.recognised = 0
        self.stopped = False  # takes a request and never says a word
        self.let_go = False

    async def send(self, request: Request, call: Call) -> Reply:
        self.asked += 1
        if self.stopped:
            try:
                await asyncio.Event().wait()
            finally:
                self.let_go = True
        if self.clock is not None:
            self.clock.now += self.takes_s
        if self.failure is not None:
            raise self.failure

        async def body() -> AsyncIterator[bytes]:
            yield b"ok"
            if self.cut is not None:
                raise self.cut

        async def close() -> None:
            self.hung_up += 1

        return Reply(200, (), body(), None, close, backend=self.name)

    async def count(self, request: Request) -> int | None:
        return self.tokens

    async def window_tokens(self) -> int | None:
        return self.window

    async def health(self) -> str | None:
        return self.failure.message if self.failure else None

    async def recognise(self) -> None:
        self.recognised += 1

    def status(self) -> JsonObject:
        return {"name": self.name, "url": f"http://{self.name}", "state": "unknown"}

    async def close(self) -> None:
        self.closed = True


def cluster(count: int = 3, **settings: Any) -> tuple[ClusterBackend, list[FakeNode], Clock]:
    clock = Clock()
    nodes = [FakeNode(name) for name in "abcdefgh"[:count]]
    told = ClusterSettings(**{"health_interval_s": RETRY_S, "strategy": "round-robin", **settings})
    return ClusterBackend(nodes, told, clock=clock), nodes, clock


async def ask(backend: ClusterBackend) -> str:
    """Send one request, read it to its end; the name of the node that answered."""
    answer = await backend.send(make_request(), make_call(make_request()))
    assert b"".join([piece async for piece in answer.body]) == b"ok"
    await answer.close()
    return answer.backend


async def asked(backend: ClusterBackend, times: int) -> list[str]:
    return [await ask(backend) for _ in range(times)]


def states(backend: ClusterBackend) -> list[str]:
    return [node["state"] for node in backend.status()["nodes"]]


async def test_requests_go_round() -> None:
    backend, _, _ = cluster()
    assert await asked(backend, 7) == list("abcabca")


async def test_counting_does_not_turn_the_wheel() -> None:
    backend, nodes, _ = cluster(2)
    nodes[1].tokens = 42
    answered = []
    for _ in range(4):
        assert await backend.count(make_request()) == 42
        answered.append(await ask(backend))
    assert answered == list("abab")


@pytest.mark.parametrize("failure", [BackendUnavailable("refused"), BackendFailed("internal error")])
async def test_a_node_that_cannot_answer_hands_the_request_on(failure: AnyclaudeError) -> None:
    backend, nodes, _ = cluster()
    nodes[0].failure = failure
    assert await ask(backend) == "b"
    first = backend.status()["nodes"][0]
    assert (first["requests"], first["errors"], first["in_flight"]) == (1, 1, 0)
    assert first["last_error"] == failure.message


async def test_a_node_that_is_down_rests_and_is_tried_again() -> None:
    backend, nodes, clock = cluster(2)
    nodes[0].failure = BackendUnavailable("refused")
    assert await asked(backend, 4) == list("bbbb")
    assert nodes[0].asked == 1
    assert states(backend) == ["down", "up"]
    clock.now += 1.01
    assert await asked(backend, 2) == list("bb")
    assert nodes[0].asked == 2
    clock.now += 1.01  # the second rest is twice as long
    await asked(backend, 2)
    assert nodes[0].asked == 2
    nodes[0].failure = None
    clock.now += 1.01
    assert set(await asked(backend, 2)) == {"a", "b"}
    assert states(backend) == ["up", "up"]


async def test_rests_grow_to_a_limit() -> None:
    backend, nodes, clock = cluster(2)
    nodes[0].failure = BackendUnavailable("refused")
    for _ in range(20):
        clock.now += RETRY_S + 1
        await asked(backend, 2)
    tried = nodes[0].asked
    clock.now += RETRY_S + 1
    await asked(backend, 2)
    assert nodes[0].asked == tried + 1


async def test_an_internal_error_of_every_node_puts_none_to_rest() -> None:
    backend, nodes, _ = cluster(2)
    for node in nodes:
        node.failure = BackendFailed("the template failed")
    with pytest.raises(BackendFailed, match="the template failed"):
        await ask(backend)
    for node in nodes:
        node.failure = None
    assert sorted(await asked(backend, 2)) == ["a", "b"]


async def test_a_refused_request_is_not_tried_elsewhere() -> None:
    backend, nodes, _ = cluster(2)
    nodes[0].failure = InvalidRequest("bad tool")
    with pytest.raises(InvalidRequest):
        await ask(backend)
    assert nodes[1].asked == 0
    assert states(backend) == ["up", "up"]


async def test_a_request_is_not_left_at_a_node_that_is_given_up_before_it_says_a_word() -> None:
    backend, (a, _), _ = cluster(2)
    a.stopped, a.failure = True, BackendTimeout("a did not answer")
    asking = asyncio.create_task(ask(backend))
    while not a.asked:
        await asyncio.sleep(0)
    for _ in range(3):
        assert not asking.done()
        await backend._check(backend.nodes[0])
    assert await asking == "b"
    assert a.let_go and [node.in_flight for node in backend.nodes] == [0, 0]
    a.window = 8192
    assert states(backend) == ["down", "up"] and await backend.window_tokens() is None, "it is not asked anything more"
    a.failure = None
    await backend._check(backend.nodes[0])
    assert states(backend) == ["up", "up"] and await backend.window_tokens() == 8192


@pytest.mark.parametrize(("silent_s", "answered"), [(200.0, "b"), (400.0, None)])
async def test_a_node_that_is_silent_hands_on_unless_another_wait_would_outlast_the_client(
    silent_s: float, answered: str | None
) -> None:
    backend, nodes, clock = cluster(2)
    nodes[0].failure, nodes[0].takes_s, nodes[0].clock = BackendTimeout("silent"), silent_s, clock
    if answered is None:
        with pytest.raises(BackendTimeout):
            await ask(backend)
    else:
        assert await ask(backend) == answered
    assert nodes[1].asked == (answered is not None)
    assert states(backend) == ["down", "up"]


async def test_a_node_whose_stream_breaks_comes_behind_the_others_for_a_while() -> None:
    backend, nodes, clock = cluster(2)
    nodes[0].cut = StreamCut("broke")
    with pytest.raises(StreamCut):
        await ask(backend)
    assert states(backend) == ["degraded", "up"]
    assert backend.status()["nodes"][0]["in_flight"] == 0
    assert await asked(backend, 2) == ["b", "b"]
    nodes[0].cut, nodes[1].failure = None, BackendUnavailable("refused")
    assert await ask(backend) == "a"  # better than none
    clock.now += 1.01
    assert states(backend)[0] == "up"


async def test_nobody_left_says_who_failed_and_when_to_come_back() -> None:
    backend, nodes, clock = cluster(2)
    for node in nodes:
        node.failure = BackendUnavailable(f"nothing at {node.name}")
    for _ in range(3):
        clock.now += RETRY_S
        with pytest.raises(BackendUnavailable, match=r"a: nothing at a; b: nothing at b"):
            await ask(backend)
    with pytest.raises(BackendUnavailable) as caught:
        await ask(backend)
    assert caught.value.retry_after_s == 4
    assert backend.status()["state"] == "down"


async def test_what_is_in_flight_is_counted_until_its_end_or_its_close() -> None:
    backend, nodes, _ = cluster(1)
    request = make_request()
    first = await backend.send(request, make_call(request))
    second = await backend.send(request, make_call(request))
    assert backend.status()["nodes"][0]["in_flight"] == 2
    async for _ in first.body:
        pass
    assert backend.status()["nodes"][0]["in_flight"] == 1
    await first.close()
    await second.close()
    await second.close()
    assert backend.status()["nodes"][0]["in_flight"] == 0
    assert nodes[0].hung_up == 3


async def test_the_window_is_that_of_the_smallest_node() -> None:
    backend, nodes, _ = cluster()
    assert await backend.window_tokens() is None
    nodes[0].window, nodes[2].window = 32768, 8192
    assert await backend.window_tokens() == 8192
    nodes[1].window = 12  # no prompt of any client fits: one node that errs may not stop the others
    assert await backend.window_tokens() == 8192


async def test_health_wakes_a_node_that_is_well_again() -> None:
    backend, nodes, _ = cluster(2)
    nodes[0].failure = nodes[1].failure = BackendUnavailable("refused")
    with pytest.raises(BackendUnavailable):
        await ask(backend)
    assert "None of the 2 nodes" in str(await backend.health())
    nodes[1].failure = None
    assert await backend.health() is None
    assert await ask(backend) == "b"


async def test_one_node_that_loses_its_prefill_decides_for_all() -> None:
    assert ClusterBackend([FakeNode("a"), FakeNode("b", loses_prefill=True)]).loses_prefill_on_abort
    assert not ClusterBackend([FakeNode("a")]).loses_prefill_on_abort


async def test_closing_closes_every_node() -> None:
    backend, nodes, _ = cluster()
    await backend.close()
    assert all(node.closed for node in nodes)


@pytest.mark.parametrize("nodes", [[], [FakeNode("x")] * 65])
def test_a_cluster_has_a_sane_size(nodes: Sequence[FakeNode]) -> None:
    with pytest.raises(SettingsError, match=f"{len(nodes)} nodes; 1 to 64"):
        ClusterBackend(nodes)


@pytest.mark.parametrize(("pattern", "often"), [(".F.F.", False), ("F.F.F", True)])
async def test_a_node_that_often_fails_comes_behind_the_others(pattern: str, often: bool) -> None:
    backend, nodes, clock = cluster(2)
    for letter in pattern:
        nodes[0].failure = BackendFailed("the template failed") if letter == "F" else None
        await asked(backend, 2)
    nodes[0].failure = None
    assert states(backend) == ["degraded" if often else "up", "up"]
    nodes[0].asked = 0
    await asked(backend, 4)
    assert nodes[0].asked == (0 if often else 2)
    clock.now += 61
    assert states(backend) == ["up", "up"]


async def test_a_conversation_goes_where_it_was_computed_and_forgets_a_node_that_forgot() -> None:
    backend, nodes, _ = cluster(3, strategy="cache-aware")
    long, other = make_request("word " * 4000), make_request("other " * 4000)

    async def told(request: Request, **options: Any) -> str:
        answer = await backend.send(request, make_call(request, **options))
        await answer.close()
        return f"{answer.backend}: {answer.why}"

    assert (await told(long, lane="x")).startswith("a: has seen 0 of")
    assert (await told(other, lane="y")).startswith("b: has seen 0 of")
    assert (await told(long, lane="z")).startswith("a: has seen 4,")
    nodes[0].failure = BackendUnavailable("refused")
    assert (await told(long, lane="x")).startswith("b: has seen 0 of")
    nodes[0].failure = None
    assert (await told(long, lane="x")).startswith("b: has seen 4,")  # what a had computed is gone


async def test_a_draining_node_gets_nothing_new_and_keeps_what_it_has() -> None:
    backend, _, _ = cluster(2)
    request = make_request()
    running = await backend.send(request, make_call(request))
    backend.drain("a", True)
    assert await asked(backend, 3) == ["b", "b", "b"]
    assert states(backend) == ["draining", "up"]
    assert b"".join([piece async for piece in running.body]) == b"ok"
    backend.drain("b", True)
    with pytest.raises(BackendUnavailable, match="a: draining; b: draining"):
        await ask(backend)
    assert "draining" in str(await backend.health())
    backend.drain("a", False)
    assert await ask(backend) == "a"
    with pytest.raises(NotFound, match="no node 'c'; it has a, b"):
        backend.drain("c", True)


async def test_a_node_that_came_back_is_tried_by_one_request_at_a_time() -> None:
    backend, nodes, clock = cluster(2)
    nodes[0].failure = BackendUnavailable("refused")
    await ask(backend)
    nodes[0].failure = None
    clock.now += 1.01
    request = make_request()
    sent = [await backend.send(request, make_call(request)) for _ in range(4)]
    assert [answer.backend for answer in sent].count("a") == 1
    for answer in sent:
        await answer.close()
    nodes[0].hung_up = 0
    assert "a" in await asked(backend, 2)


async def test_where_every_node_rests_one_that_is_well_again_answers_all_the_same() -> None:
    backend, nodes, _ = cluster(3)
    nodes[0].failure = nodes[1].failure = BackendUnavailable("refused")
    nodes[2].failure = BackendTimeout("silent")
    with pytest.raises(BackendTimeout):
        await ask(backend)
    nodes[1].failure = nodes[2].failure = None
    assert await ask(backend) == "b" and nodes[2].asked == 1  # waiting for a silent one would cost too much


async def test_where_only_a_node_on_trial_is_left_nobody_is_turned_away() -> None:
    backend, nodes, clock = cluster(2)
    nodes[0].failure = BackendUnavailable("refused")
    await ask(backend)
    nodes[0].failure, nodes[1].failure = None, BackendUnavailable("refused")
    clock.now += 1.01
    request = make_request()
    sent = [await backend.send(request, make_call(request)) for _ in range(4)]
    assert [answer.backend for answer in sent] == list("aaaa")
    for answer in sent:
        await answer.close()


async def test_checks_find_a_dead_node_before_a_request_does_and_find_it_well_again() -> None:
    nodes = [FakeNode("a"), FakeNode("b")]
    settings = ClusterSettings(strategy="round-robin", health_interval_s=0.01, max_missed_checks=3, refresh_s=0.01)
    backend = ClusterBackend(nodes, settings)
    backend.start()
    nodes[0].failure = BackendUnavailable("refused")
    await wait_until_async(lambda: states(backend) == ["down", "up"], "the dead node is noticed")
    assert nodes[0].asked == 0 and await asked(backend, 2) == ["b", "b"]
    nodes[0].failure = None
    await wait_until_async(lambda: not backend.status()["nodes"][0]["tried_again_in_s"], "it is seen to be well")
    assert set(await asked(backend, 4)) == {"a", "b"}
    assert min(node.recognised for node in nodes) > 0
    await backend.close()


async def test_a_check_that_takes_too_long_is_missed() -> None:
    class Stuck(FakeNode):
        async def health(self) -> str | None:
            await asyncio.sleep(60)
            return None

    backend = ClusterBackend([Stuck("a")], ClusterSettings(health_timeout_s=0.01, max_missed_checks=2))
    assert "within 0.01 s" in str(await backend.health())
    assert states(backend) == ["up"]  # a busy server may miss one
    await backend.health()
    assert states(backend) == ["down"]


async def test_over_real_servers_the_request_survives_a_dead_one() -> None:
    async with OpenAIStandIn([reply("one")]) as dead:
        url = dead.url
    async with (
        OpenAIStandIn([Refusal(503, "Loading model")], profile="llama.cpp") as loading,
        OpenAIStandIn([reply("alive")], profile="mlx-lm") as alive,
    ):
        nodes = [OpenAIBackend(name, at) for name, at in (("a", url), ("b", loading.url), ("c", alive.url))]
        backend = ClusterBackend(nodes)
        request = make_request()
        answer = await backend.send(request, make_call(request))
        message = fold(await read_events(answer))
        assert (message["content"][0]["text"], answer.backend) == ("alive", "c")
        assert states(backend) == ["down", "down", "up"]
        assert backend.status()["nodes"][2]["server"] == "mlx-lm"
        assert await backend.health() is None
        await backend.close()


async def test_over_real_servers_closing_reaches_the_node() -> None:
    async with OpenAIStandIn([reply("again and again", endless=True)], profile="mlx-lm") as node:
        backend = ClusterBackend([OpenAIBackend("a", node.url)])
        request = make_request()
        answer = await backend.send(request, make_call(request))
        await anext(answer.body)
        await answer.close()
        await wait_until_async(lambda: node.chats[0].client_gone_s is not None, "the hang-up")
        assert backend.status()["nodes"][0]["in_flight"] == 0
        await backend.close()
