"""The cluster over nodes that do what they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

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
    SettingsError,
    StreamCut,
)
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
        self.closed = False

    async def send(self, request: Request, call: Call) -> Reply:
        self.asked += 1
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

    def status(self) -> JsonObject:
        return {"name": self.name, "url": f"http://{self.name}", "state": "unknown"}

    async def close(self) -> None:
        self.closed = True


def cluster(count: int = 3) -> tuple[ClusterBackend, list[FakeNode], Clock]:
    clock = Clock()
    nodes = [FakeNode(name) for name in "abcdefgh"[:count]]
    return ClusterBackend(nodes, retry_s=RETRY_S, clock=clock), nodes, clock


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


async def test_a_node_that_is_silent_rests_but_the_client_is_not_kept_waiting_twice() -> None:
    backend, nodes, _ = cluster(2)
    nodes[0].failure = BackendTimeout("silent for 600 s")
    with pytest.raises(BackendTimeout):
        await ask(backend)
    assert nodes[1].asked == 0
    assert states(backend) == ["down", "up"]


async def test_a_node_whose_stream_breaks_rests() -> None:
    backend, nodes, _ = cluster(2)
    nodes[0].cut = StreamCut("broke")
    with pytest.raises(StreamCut):
        await ask(backend)
    assert states(backend) == ["down", "up"]
    assert backend.status()["nodes"][0]["in_flight"] == 0
    assert await asked(backend, 2) == ["b", "b"]


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
        await wait_until_async(lambda: node.chats[0].client_gone_s is not None, "the hang-up", 0.5)
        assert backend.status()["nodes"][0]["in_flight"] == 0
        await backend.close()
