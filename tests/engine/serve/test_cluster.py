"""Three real engines as the nodes of a cluster, one of which is killed outright while it answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from anyclaude_lab.backends.cluster import ClusterBackend
from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.settings import ClusterSettings
from anyclaude_lab.wire.decoder import Ending
from tests.backends.calls import make_call, make_request
from tests.engine.serve.test_process import answers, start
from tests.processes import until
from tests.standins.http import kept_port, wait_until_async

CLIENTS, EACH = 9, 4

pytestmark = pytest.mark.engine


async def answered(backend: ClusterBackend, lane: str, text: str) -> str:
    """How one request ended."""
    request = make_request(text, max_tokens=16)
    heard = False
    try:
        reply = await backend.send(request, make_call(request, lane=lane))
        assert reply.decoder is not None
        async for data in reply.body:
            heard = bool(reply.decoder.feed(data)) or heard
        reply.decoder.close()
        await reply.close()
    except AnyclaudeError as error:
        return "cut after its first byte" if heard else f"lost: {error.message}"
    return "complete" if reply.decoder.ending is Ending.COMPLETE else f"ended {reply.decoder.ending}"


async def test_a_node_killed_under_load_costs_nobody_an_answer_not_yet_begun(model_folders: dict[str, Path]) -> None:
    with ExitStack() as stack:
        ports = [stack.enter_context(kept_port()) for _ in range(3)]
        engines = [start(port, "--model", model_folders["plain"], "--memory-mb", 50) for port in ports]
        for process, _ in engines:
            stack.callback(process.communicate)
            stack.callback(process.kill)
        for _, url in engines:
            until(lambda: answers(url), "it answers")  # noqa: B023 - called at once
        nodes = [OpenAIBackend(f"n{i}", url) for i, (_, url) in enumerate(engines)]
        backend = ClusterBackend(nodes, ClusterSettings(strategy="cache-aware", health_interval_s=0.2))
        backend.start()
        ended = Counter[str]()

        async def client(number: int) -> None:
            history = f"{number} " * 600
            for _ in range(EACH):
                ended[await answered(backend, f"lane {number}", history)] += 1
                history += "and more " * 20

        clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
        await wait_until_async(lambda: backend.nodes[0].in_flight >= 2, "the first node is at work")
        engines[0][0].kill()
        await asyncio.gather(*clients)
        figures = backend.status()["nodes"]
        await backend.close()
    assert sum(ended.values()) == CLIENTS * EACH
    assert set(ended) <= {"complete", "cut after its first byte"}, ended
    assert ended["complete"] >= CLIENTS * EACH - 6
    assert figures[0]["errors"] > 0 and figures[0]["state"] == "down"
    assert all(node["cached_share"] > 0.3 for node in figures[1:])  # conversations came back to their nodes
