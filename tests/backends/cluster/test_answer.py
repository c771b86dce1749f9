"""Over real connections: as long as nothing of an answer was heard, it comes from another node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from anyclaude_lab.backends.base import Reply
from anyclaude_lab.backends.cluster import ClusterBackend
from anyclaude_lab.backends.http import Budgets
from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.errors import AnyclaudeError, InvalidRequest
from anyclaude_lab.settings import ClusterSettings
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.fold import fold
from benchmarks.soak.streams import END, _chunk
from tests.backends.calls import make_call, make_request, read_events
from tests.standins.faulty import FaultyBackend, Play

FINE = Play((_chunk({"content": "fine"}), *END))
HEAD = _chunk({"role": "assistant", "content": ""})
JSON = (("content-type", "application/json"),)
SILENT_S = 0.2
STUCK = Play((), end="stall", whole=False)

# Each answers with a 200 and says nothing.
MUTE = {
    "closes": Play((), whole=False),
    "ends properly": Play(()),
    "resets in the prefill": Play((b": keepalive 1/2\n\n",), whole=False, end="reset"),
    "ends behind the role": Play((HEAD,)),
    "says that it failed": Play((b'data: {"error": {"message": "out of memory", "code": 500}}\n\n',)),
    "says that it failed, as JSON": Play((b'{"error": {"message": "loading", "code": 503}}',), headers=JSON),
    "is silent": STUCK,
    "says done": Play((b"data: [DONE]\n\n",)),
}


@asynccontextmanager
async def cluster(
    *plays: Play | Callable[[], Play], **settings: object
) -> AsyncIterator[tuple[ClusterBackend, list[FaultyBackend]]]:
    servers = [FaultyBackend(play) for play in plays]
    for server in servers:
        await server.__aenter__()
    nodes = [
        OpenAIBackend(f"n{i}", server.url, budgets=Budgets(silence_s=SILENT_S if server.play is STUCK else 60))
        for i, server in enumerate(servers)
    ]
    backend = ClusterBackend(nodes, ClusterSettings(**settings))  # type: ignore[arg-type]  # its own fields
    try:
        yield backend, servers
    finally:
        await backend.close()
        for server in servers:
            await server.__aexit__()


async def sent(backend: ClusterBackend) -> Reply:
    request = make_request()
    return await backend.send(request, make_call(request))


async def text(reply: Reply) -> str:
    return "".join(block.get("text", "") for block in fold(await read_events(reply))["content"])


@pytest.mark.parametrize("kind", MUTE)
async def test_what_breaks_before_its_first_word_is_said_by_another_node(kind: str) -> None:
    async with cluster(MUTE[kind], MUTE[kind], FINE) as (backend, servers):
        reply = await sent(backend)
        assert await text(reply) == "fine"
        assert (reply.backend, [server.asked for server in servers]) == ("n2", [1, 1, 1])
        assert reply.decoder is not None and reply.decoder.ending is Ending.COMPLETE
        assert [node.in_flight for node in backend.nodes] == [node.queued_tokens for node in backend.nodes] == [0] * 3
        assert [node.errors for node in backend.nodes] == [1, 1, 0]


async def test_what_breaks_behind_its_first_word_is_not_said_twice() -> None:
    async with cluster(Play((_chunk({"content": "half"}),), whole=False), FINE) as (backend, servers):
        reply = await sent(backend)
        with pytest.raises(AnyclaudeError):
            await read_events(reply)
        assert servers[1].asked == 0
        assert reply.decoder is not None and reply.decoder.ending is Ending.CUT


async def test_a_refusal_is_an_answer() -> None:
    refusal = Play((b'data: {"error": {"message": "bad tool", "code": 400}}\n\n',))
    async with cluster(refusal, FINE) as (backend, servers):
        reply = await sent(backend)
        await read_events(reply)
        assert reply.decoder is not None and isinstance(reply.decoder.failure, InvalidRequest)
        assert servers[1].asked == 0


async def test_with_every_node_mute_the_last_reason_is_said() -> None:
    async with cluster(MUTE["closes"], MUTE["says that it failed"]) as (backend, _):
        reply = await sent(backend)
        with pytest.raises(AnyclaudeError, match="out of memory"):
            await read_events(reply)
        assert [node.in_flight for node in backend.nodes] == [0, 0]


async def test_only_so_many_nodes_are_tried_as_the_settings_allow() -> None:
    async with cluster(MUTE["closes"], MUTE["closes"], FINE, max_retries=1) as (backend, servers):
        with pytest.raises(AnyclaudeError):
            await read_events(await sent(backend))
        assert [server.asked for server in servers] == [1, 1, 0]


async def test_a_read_that_was_given_up_may_be_taken_up_again_in_the_middle_of_a_move() -> None:
    slow = Play((0.1, *FINE.pieces), head=None)
    async with cluster(Play((0.05,), whole=False), slow) as (backend, servers):
        reply = await sent(backend)
        assert reply.decoder is not None
        events, body = [], reply.body
        async with asyncio.timeout(60):
            while reply.decoder.ending is Ending.OPEN:
                try:
                    async with asyncio.timeout(0.01):
                        data = await anext(body)
                except TimeoutError:
                    continue
                except StopAsyncIteration:
                    events += reply.decoder.close()
                    break
                events += reply.decoder.feed(data)
        assert "".join(block.get("text", "") for block in fold(events)["content"]) == "fine"
        assert [server.asked for server in servers] == [1, 1]
        await reply.close()


async def test_a_client_that_leaves_in_the_middle_of_a_move_leaves_every_node() -> None:
    async with cluster(MUTE["closes"], Play((), end="stall", whole=False, head=b"")) as (backend, servers):
        reply = await sent(backend)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SILENT_S / 2):
                await anext(reply.body)
        await reply.close()
        assert [node.in_flight for node in backend.nodes] == [0, 0]
        async with asyncio.timeout(60):
            while servers[1].open:
                await asyncio.sleep(0.01)


async def test_what_waits_at_a_node_that_checks_gave_up_goes_elsewhere() -> None:
    stuck = Play((60.0,))
    async with cluster(stuck, FINE, health_interval_s=0.02, max_missed_checks=1) as (backend, servers):
        reply = await sent(backend)
        reading = asyncio.create_task(text(reply))
        await asyncio.sleep(0)
        backend.nodes[0].backend.health = unwell  # type: ignore[method-assign]  # a planted state
        backend.start()
        async with asyncio.timeout(60):
            assert await reading == "fine"
        assert servers[1].asked == 1


async def unwell() -> str | None:
    return "it hangs"
