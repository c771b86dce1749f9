"""What the proxy says of the nodes of a cluster, and what it can do with them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.proxy.conftest import RunningProxy, StartProxy
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply


@asynccontextmanager
async def two_nodes(start: StartProxy, **flags: Any) -> AsyncIterator[RunningProxy]:
    turns = [reply("ok", prompt_tokens=100, cached_tokens=25)] * 3
    async with OpenAIStandIn(turns, profile="mlx-lm") as a, OpenAIStandIn(turns, profile="mlx-lm") as b:
        nodes = json.dumps([{"id": "a", "url": a.url}, {"id": "b", "url": b.url}])
        proxy = await start(env={"MLX_CLUSTER_NODES": nodes}, flags={"mode": "mlx-cluster", **flags})
        yield proxy


async def test_metrics_show_every_node_in_both_forms(start: StartProxy) -> None:
    async with two_nodes(start) as proxy:
        await proxy.ask()
        facts = (await proxy.http.get("/v1/metrics")).json()
        text = (await proxy.http.get("/v1/metrics?format=prometheus")).text
    asked, idle = sorted(facts["backend"]["nodes"], key=lambda node: -node["requests"])
    assert (asked["state"], asked["requests"], asked["in_flight"], asked["cached_share"]) == ("up", 1, 0, 0.25)
    assert asked["latency_s"] > 0 and asked["last_choice"]
    assert (idle["state"], idle["requests"], idle["latency_s"], idle["cached_share"]) == ("up", 0, None, None)
    name = asked["name"]
    assert f'anyclaude_node_cached_share{{node="{name}"}} 0.25' in text
    assert f'anyclaude_node_requests_total{{node="{name}"}} 1.0' in text
    assert f'anyclaude_node_latency_seconds{{node="{idle["name"]}"}} NaN' in text


async def test_the_log_says_why_a_node_was_chosen_from_level_2_on(start: StartProxy) -> None:
    async with two_nodes(start, debug=2) as proxy:
        await proxy.ask()
        assert " went to a: " in proxy.log_file.read_text()


async def test_a_node_is_drained_and_taken_back(start: StartProxy) -> None:
    async with two_nodes(start) as proxy:
        drained = await proxy.http.post("/v1/nodes", json={"id": "a", "drain": True})
        assert [node["state"] for node in drained.json()["nodes"]] == ["draining", "up"]
        for _ in range(3):
            assert (await proxy.ask()).status_code == 200
        nodes = (await proxy.http.get("/v1/nodes")).json()["nodes"]
        assert [node["requests"] for node in nodes] == [0, 3]
        back = await proxy.http.post("/v1/nodes", json={"id": "a", "drain": False})
        assert [node["state"] for node in back.json()["nodes"]] == ["up", "up"]
        for body, status in (({"id": "c", "drain": True}, 404), ({"id": "a"}, 400), ([], 400)):
            refused = await proxy.http.post("/v1/nodes", json=body)
            assert refused.status_code == status and refused.json()["error"]["message"]
        foreign = await proxy.http.post(
            "/v1/nodes", json={"id": "a", "drain": True}, headers={"origin": "http://evil.example"}
        )
        assert foreign.status_code == 403


async def test_without_a_cluster_there_are_no_nodes(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        refused = await proxy.http.get("/v1/nodes")
        assert refused.status_code == 404 and "mlx-cluster" in refused.json()["error"]["message"]
