"""Prompt tokens that the nodes of a cluster need not compute again, by the strategy that chose the nodes.

    python -m benchmarks.lab.balance [--nodes 3]

The bundled sessions run at once, a request of each in flight at a time, through the real balancer. The nodes only
remember: each has the cache of one stock mlx_lm.server (10 sequences); prompts as the demonstration model reads them.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from anyclaude_lab.backends.base import Call, Reply
from anyclaude_lab.backends.cluster import ClusterBackend
from anyclaude_lab.backends.cluster.strategies import STRATEGIES
from anyclaude_lab.engine import embedded
from anyclaude_lab.lab.metrics.reuse import MlxCache
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.settings import ClusterSettings
from anyclaude_lab.trace.files import sources
from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, JsonObject, Usage
from anyclaude_lab.wire.request import Request

TRACES = Path(__file__).parents[2] / "traces"
PLAN = Plan(tier="aggressive")


@dataclass(slots=True)
class Told:
    """A decoder of an answer that is one word; it reports what was reused."""

    usage: Usage
    ending: Ending = Ending.OPEN
    failure: None = None
    progress: None = None

    def feed(self, data: bytes) -> list[Event]:
        return [Event("content_block_delta", {})]

    def close(self) -> list[Event]:
        self.ending = Ending.COMPLETE
        return []


@dataclass(slots=True)
class Memory:
    """A node that only remembers."""

    name: str
    renderer: Renderer
    cache: MlxCache = field(default_factory=MlxCache)
    translating: bool = True
    loses_prefill_on_abort: bool = False
    prompt_tokens: int = 0
    reused_tokens: int = 0

    async def send(self, request: Request, call: Call) -> Reply:
        prompt = self.renderer.prompt(request)
        assert prompt is not None
        reused = self.cache.reused(prompt.tokens)
        self.cache.store(prompt.tokens, prompt.tokens)
        self.prompt_tokens += len(prompt.tokens)
        self.reused_tokens += reused

        async def body() -> AsyncIterator[bytes]:
            yield b"word"

        async def close() -> None: ...

        return Reply(200, (), body(), Told(Usage(len(prompt.tokens), 1, reused)), close, self.name)

    async def count(self, request: Request) -> int | None:
        return None

    async def window_tokens(self) -> int | None:
        return None

    async def health(self) -> str | None:
        return None

    async def recognise(self) -> None: ...

    def status(self) -> JsonObject:
        return {"name": self.name}

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a recorded session, as the proxy would send it."""

    lane: str
    request: Request
    prompt_tokens: int


def sessions(renderer: Renderer) -> Iterator[list[Asked]]:
    """The requests of each bundled session, in order, after prompt work."""
    for source in sources(TRACES)[0]:
        found = []
        for recorded in read_trace(source).in_order():
            request, *_ = run(recorded.request(), PLAN)
            prompt = renderer.prompt(request)
            if prompt is not None:
                found.append(Asked(f"{source.name}/{recorded.lane}", request, len(prompt.tokens)))
        yield found


async def played(strategy: str, nodes: Sequence[Memory], asked: Sequence[Sequence[Asked]]) -> None:
    """Every session at once: a request of each is in flight before the first of them is answered."""
    backend = ClusterBackend(nodes, ClusterSettings(strategy=strategy))
    for together in zip_longest(*asked):
        replies = []
        for one in together:
            if one is not None:
                call = Call("r", one.lane, one.request, prompt_tokens=one.prompt_tokens)
                replies.append(await backend.send(one.request, call))
        for reply in replies:
            assert reply.decoder is not None
            async for data in reply.body:
                reply.decoder.feed(data)
            await reply.close()
    await backend.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab.balance")
    parser.add_argument("--nodes", type=int, default=3)
    count = parser.parse_args().nodes
    renderer = Renderer(embedded.folder())
    asked = list(sessions(renderer))
    print(f"{len(asked)} sessions, {sum(map(len, asked))} requests, tokens of {renderer.name}")
    print(f"{'strategy':16}{'nodes':>6}{'prompt tokens':>15}{'reused':>12}{'share':>8}  requests of each node")
    for strategy, size in [*((name, count) for name in STRATEGIES), ("round-robin", 1)]:
        nodes = [Memory(f"node-{i}", renderer) for i in range(size)]
        asyncio.run(played(strategy, nodes, asked))
        tokens, reused = (sum(getattr(node, name) for node in nodes) for name in ("prompt_tokens", "reused_tokens"))
        shares = " ".join(f"{node.prompt_tokens:,}" for node in nodes)
        print(f"{strategy:16}{size:6}{tokens:15,}{reused:12,}{reused / tokens:8.1%}  {shares}")


if __name__ == "__main__":
    main()
