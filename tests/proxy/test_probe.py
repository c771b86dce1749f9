"""After its start a proxy asks what answers what it can do, and tells it; with several nodes, each of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from anyclaude_lab.proxy.running import running
from anyclaude_lab.settings import load_settings
from tests.e2e.proxy_process import proxy_process
from tests.processes import until
from tests.standins import http
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply


@pytest.mark.parametrize("mode", ["local", "mlx-cluster"])
async def test_what_a_server_can_do_stands_in_the_log_and_in_the_metrics(mode: str, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply("OK")] * 3, profile="vllm") as a, OpenAIStandIn([reply("OK")] * 3) as b:
        nodes = json.dumps([{"id": "a", "url": a.url}, {"id": "b", "url": b.url}])
        environ = {"LOCAL_URL": f"{a.url}/v1", "MLX_CLUSTER_NODES": nodes}
        settings, _ = load_settings({"proxy_only": True, "mode": mode}, environ, cwd=tmp_path, home=tmp_path)
        assert settings.probe
        async with running(settings, state_folder=tmp_path, probe=True) as proxy:
            names = ("a", "b") if mode == "mlx-cluster" else ("local",)
            log = tmp_path / "logs" / "proxy.log"
            async with asyncio.timeout(http.DEADLINE_S):
                while not all(f"{name} can: streaming yes" in log.read_text() for name in names):
                    await asyncio.sleep(0.01)
            status = proxy.serving.backend_status()
            for told in status.get("nodes", [status]):
                assert told["capabilities"]["tools"] is True


def test_the_program_does_so_by_itself(tmp_path: Path) -> None:
    with http.running(OpenAIStandIn([reply("OK")] * 3)) as server:
        with proxy_process(tmp_path, (), {"LOCAL_URL": f"{server.url}/v1", "ANYCLAUDE_PROBE": "yes"}):
            log = tmp_path / ".anyclaude" / "logs" / "proxy.log"
            until(lambda: "local can: streaming yes" in log.read_text(), "what the server can do is told")
        assert len(server.chats) == 3
