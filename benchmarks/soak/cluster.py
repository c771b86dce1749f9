"""A cluster whose nodes are killed and come back, one after the other, while clients ask.

    python -m benchmarks.soak cluster [--requests 1000] [--nodes 3] [--every 10]

A request is lost before its first byte where the client gets an error instead of a stream, although a node was up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import httpx

from benchmarks.soak.proxy import proxy
from benchmarks.soak.result import write
from benchmarks.soak.streams import END, _chunk
from tests.reliability.streams import ask, complaints
from tests.standins.faulty import FaultyBackend, Play

CLIENTS = 8
TEXT = tuple(part for number in range(20) for part in (_chunk({"content": f"word{number} "}), 0.02))


async def chaos(url: str, nodes: Sequence[FaultyBackend], requests: int, every_s: float) -> tuple[Counter[str], int]:
    """Ask so often while a node dies every `every_s` seconds and comes back half of that later."""
    left, ended, kills = requests, Counter[str](), 0

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
        nonlocal kills
        while True:
            for node in nodes:
                await asyncio.sleep(every_s / 2)
                await node.__aexit__()
                kills += 1
                await asyncio.sleep(every_s / 2)
                await node.__aenter__()

    killing = asyncio.create_task(killer())
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    killing.cancel()
    with suppress(asyncio.CancelledError):
        await killing
    return ended, kills


async def soak(requests: int, count: int, every_s: float) -> dict[str, object]:
    """The figures of one run."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(FaultyBackend(Play((*TEXT, *END)))) for _ in range(count)]
        listed = json.dumps([{"id": f"node-{i}", "url": f"{node.url}/v1"} for i, node in enumerate(nodes)])
        with proxy(
            {"MLX_CLUSTER_NODES": listed, "MLX_CLUSTER_HEALTH_INTERVAL": "1000"}, "--mode", "mlx-cluster"
        ) as running:
            began = time.monotonic()
            ended, kills = await chaos(running.url, nodes, requests, every_s)
            seconds = time.monotonic() - began
    return {
        "nodes": count,
        "kills": kills,
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
    asked = parser.parse_args(words)
    figures = asyncio.run(soak(asked.requests, asked.nodes, asked.every))
    write("cluster", figures)
    return 1 if figures["lost_before_first_byte"] or figures["illegal"] else 0
