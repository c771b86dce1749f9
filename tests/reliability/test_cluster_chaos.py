"""A cluster whose nodes die, come back, lie and break: as long as one is well, nobody is lost before the first byte."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.backends.http import Budgets
from benchmarks.soak.cluster import chaos
from benchmarks.soak.streams import END, _chunk
from tests.proxy.conftest import RunningProxy, StartProxy, start
from tests.reliability.streams import ask, complaints
from tests.standins.faulty import FaultyBackend, Play
from tests.standins.http import DEADLINE_S, kept_port, wait_until_async

__all__ = ["start"]

FINE = Play((_chunk({"content": "fine"}), *END))


async def cluster(start: StartProxy, tmp_path: Path, nodes: list[FaultyBackend], rest_ms: int = 200) -> RunningProxy:
    (tmp_path / ".anyclauderc.json").write_text('{"circuitBreaker": {"enabled": false}}')
    listed = json.dumps([{"id": f"n{i}", "url": f"{node.url}/v1"} for i, node in enumerate(nodes)])
    env = {"MLX_CLUSTER_NODES": listed, "MLX_CLUSTER_HEALTH_INTERVAL": str(rest_ms)}
    proxy: RunningProxy = await start(env=env, flags={"mode": "mlx-cluster"})
    return proxy


async def test_nodes_die_and_come_back_under_load(start: StartProxy, tmp_path: Path) -> None:
    text = tuple(part for number in range(5) for part in (_chunk({"content": f"word{number} "}), 0.01))
    async with AsyncExitStack() as stack:
        ports = [stack.enter_context(kept_port()) for _ in range(3)]
        nodes = [await stack.enter_async_context(FaultyBackend(Play((*text, *END)), port)) for port in ports]

        async def fifteen_requests() -> None:
            asked = sum(node.asked for node in nodes)
            await wait_until_async(lambda: sum(node.asked for node in nodes) >= asked + 15, "fifteen requests")

        proxy = await cluster(start, tmp_path, nodes)
        ended, befell = await chaos(proxy.url, nodes, 150, fifteen_requests)
        assert befell["killed"] >= 3
        assert sum(ended.values()) >= 150
        assert {word for word in ended if word not in ("complete", "cut after its first byte")} == set()
        assert ended["complete"] > 100


BAD = {
    "refuses": Play((b'{"error": "cannot"}',), 500, (("content-type", "application/json"),)),
    "is loading": Play((b'{"error": "loading model"}',), 503, (("content-type", "application/json"),)),
    "resets": Play((), head=b"", whole=False, end="reset"),
    "closes": Play((), head=b"", whole=False, end="close"),
    "says garbage": Play((), head=b"\x00\xffnothing\r\n\r\n", whole=False),
    "answers with a page": Play((b"<html>",), 200, (("content-type", "text/html"),)),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_node_that_lies_about_its_health_costs_nobody_an_answer(
    start: StartProxy, tmp_path: Path, kind: str
) -> None:
    async with FaultyBackend(BAD[kind]) as bad, FaultyBackend(FINE) as good:
        proxy = await cluster(start, tmp_path, [bad, good])
        seen = await asyncio.gather(*(ask(proxy.http) for _ in range(20)))
        assert [complaints(one) for one in seen] == [[]] * 20
        assert {one.status for one in seen} == {200}
        assert bad.asked > 0


async def test_a_node_that_stalls_is_left_alone_afterwards(start: StartProxy, tmp_path: Path) -> None:
    async with FaultyBackend(Play((), head=b"", whole=False, end="stall")) as bad, FaultyBackend(FINE) as good:
        proxy = await cluster(start, tmp_path, [bad, good], rest_ms=60_000)
        nodes: Any = proxy.serving.variant.backend
        nodes.nodes[0].backend._leg.budgets = Budgets(silence_s=0.3)
        while not bad.asked:
            assert (await ask(proxy.http)).status == 200
        nodes.nodes[0].rests_until += 60  # its first rest is a second, which a busy machine may sleep through
        seen = await asyncio.gather(*(ask(proxy.http) for _ in range(10)))
        assert {one.status for one in seen} == {200} and bad.asked == 1


async def test_with_every_node_gone_the_client_is_told_when_to_come_back(start: StartProxy, tmp_path: Path) -> None:
    with kept_port() as port, kept_port() as other:
        one, two = [await FaultyBackend(FINE, number).__aenter__() for number in (port, other)]
        proxy = await cluster(start, tmp_path, [one, two])
        assert (await ask(proxy.http)).status == 200
        await one.__aexit__()
        await two.__aexit__()
        refused = await proxy.ask()
        assert refused.status_code == 529 and int(refused.headers["retry-after"]) >= 1
        await one.__aenter__()
        async with asyncio.timeout(DEADLINE_S):
            while (await ask(proxy.http)).status != 200:
                await asyncio.sleep(0.05)
        await one.__aexit__()
