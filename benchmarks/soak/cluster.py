"""A cluster whose nodes are killed and come back, one after the other, and meet other troubles, while clients ask.

    python -m benchmarks.soak cluster [--requests 1000] [--nodes 3] [--every 10] [--strategy cache-aware]

Every so many seconds one node is killed, and restarted half of that later; meanwhile another one stalls, is slow, is
drained and taken back, or refuses every request while it calls itself healthy. A request is lost before its first byte
where the client gets an error instead of a stream, although a node was up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx

from anyclaude_lab.settings.rows.cluster import STRATEGIES
from benchmarks.soak.proxy import proxy
from benchmarks.soak.result import write
from benchmarks.soak.streams import END, _chunk
from tests.reliability.streams import ask, complaints
from tests.standins.faulty import FaultyBackend, Play

CLIENTS = 8
REQUEST_TIMEOUT_MS = 2000  # how long a node that stalls is waited for


def spoken(pause_s: float) -> Play:
    """Twenty words with a pause behind each."""
    words = (part for number in range(20) for part in (_chunk({"content": f"word{number} "}), pause_s))
    return Play((*words, *END))


STALL = Play((), head=b"", whole=False, end="stall")
LIE = Play((b'{"error": "loading model"}',), 503, (("content-type", "application/json"),))
PLAYS = {"stalled": STALL, "slow": spoken(0.2), "lying about its health": LIE}
TROUBLES = (*PLAYS, "drained and taken back")


@asynccontextmanager
async def trouble(kind: str, node: FaultyBackend, name: str, http: httpx.AsyncClient) -> AsyncIterator[None]:
    """The node is in this trouble until the block is left."""
    before = node.play
    if kind in PLAYS:
        node.play = PLAYS[kind]
    else:
        await http.post("/v1/nodes", json={"id": name, "drain": True})
    try:
        yield
    finally:
        node.play = before
        if kind not in PLAYS:
            await http.post("/v1/nodes", json={"id": name, "drain": False})


async def chaos(
    url: str,
    nodes: Sequence[FaultyBackend],
    requests: int,
    half_time: Callable[[], Awaitable[None]],
    ids: Sequence[str] = (),
) -> tuple[Counter[str], Counter[str]]:
    """Ask so often while a node dies, comes back `half_time` later, and after another the next dies.

    How requests ended, and what befell nodes.

    With `ids`, those of the nodes, another one is in another trouble meanwhile.
    """
    left, ended, befell = requests, Counter[str](), Counter[str]()

    async def client() -> None:
        nonlocal left
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            while left > 0:
                left -= 1
                seen = await ask(http, deadline_s=60)
                wrong = complaints(seen)
                word = f"ILLEGAL {wrong[0]}" if wrong else "complete" if seen.complete else "cut after its first byte"
                ended[f"lost: {seen.status}" if seen.status != 200 and not wrong else word] += 1

    async def killer() -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            for turn in range(1_000_000):
                node, other = nodes[turn % len(nodes)], (turn + 1) % len(nodes)
                async with AsyncExitStack() as stack:
                    if ids:
                        kind = TROUBLES[turn % len(TROUBLES)]
                        await stack.enter_async_context(trouble(kind, nodes[other], ids[other], http))
                        befell[kind] += 1
                    await half_time()
                    await node.__aexit__()
                    befell["killed"] += 1
                    await half_time()
                    await node.__aenter__()

    killing = asyncio.create_task(killer())
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    killing.cancel()
    with suppress(asyncio.CancelledError):
        await killing
    return ended, befell


async def soak(requests: int, count: int, every_s: float, strategy: str) -> dict[str, object]:
    """The figures of one run."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(FaultyBackend(spoken(0.02))) for _ in range(count)]
        ids = [f"node-{i}" for i in range(count)]
        listed = [{"id": name, "url": f"{node.url}/v1"} for name, node in zip(ids, nodes, strict=True)]
        env = {
            "MLX_CLUSTER_NODES": json.dumps(listed),
            "MLX_CLUSTER_HEALTH_INTERVAL": "1000",
            "MLX_CLUSTER_STRATEGY": strategy,
            "ANYCLAUDE_REQUEST_TIMEOUT": str(REQUEST_TIMEOUT_MS),
        }
        with proxy(env, "--mode", "mlx-cluster") as running:
            began = time.monotonic()
            ended, befell = await chaos(running.url, nodes, requests, lambda: asyncio.sleep(every_s / 2), ids)
            seconds = time.monotonic() - began
    return {
        "nodes": count,
        "strategy": strategy,
        "seconds_between_kills": every_s,
        "befell_nodes": dict(befell.most_common()),
        "seconds": round(seconds),
        "requests": sum(ended.values()),
        "ended": dict(ended.most_common()),
        "lost_before_first_byte": sum(n for word, n in ended.items() if word.startswith("lost")),
        "illegal": sum(n for word, n in ended.items() if word.startswith("ILLEGAL")),
    }


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak cluster")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two kills")
    parser.add_argument("--strategy", choices=STRATEGIES, default="cache-aware")
    asked = parser.parse_args(words)
    figures = asyncio.run(soak(asked.requests, asked.nodes, asked.every, asked.strategy))
    write("cluster", figures)
    return 1 if figures["lost_before_first_byte"] or figures["illegal"] else 0
