"""A proxy in this process, on the production runner and a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyclaude_lab.compose import composed, search_services, secrets
from anyclaude_lab.proxy.log import Log
from anyclaude_lab.proxy.server import Server
from anyclaude_lab.proxy.serving import Serving
from anyclaude_lab.settings import load_settings
from anyclaude_lab.wire.events import JsonObject
from tests.standins import grammar
from tests.standins.http import DEADLINE_S

ASK: JsonObject = {
    "model": "claude-test",
    "max_tokens": 1000,
    "stream": True,
    "messages": [{"role": "user", "content": "Hello"}],
}


@dataclass
class RunningProxy:
    url: str
    server: Server
    serving: Serving
    log_file: Path
    http: httpx.AsyncClient

    async def ask(self, **changes: Any) -> httpx.Response:
        """One Messages request, read to its end."""
        return await self.http.post("/v1/messages", json=ASK | changes)

    async def metric(self, name: str) -> Any:
        return (await self.http.get("/v1/metrics")).json()[name]


def said(answer: httpx.Response) -> str:
    """The text of a streamed answer."""
    deltas = [data.get("delta", {}) for _, data in grammar.events(answer.content)]
    return "".join(delta.get("text", "") for delta in deltas)


StartProxy = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartProxy]:
    """`await start(url, ...)`: a proxy in `local` mode before that server, or as `env` says."""
    async with AsyncExitStack() as stack:

        async def begin(
            url: str | None = None,
            *,
            env: Mapping[str, str] | None = None,
            flags: Mapping[str, Any] | None = None,
            port: int = 0,
            commit_s: float = 10.0,
            ping_s: float = 10.0,
        ) -> RunningProxy:
            environ = {"LOCAL_URL": f"{url}/v1"} if url else {}
            settings, _ = load_settings(
                {"proxy_only": True, **(flags or {})}, {**environ, **(env or {})}, cwd=tmp_path, home=tmp_path
            )
            as_json = settings.log_format == "json"
            log = Log(settings.debug, tmp_path / "logs", json_lines=as_json, secrets=list(secrets(settings)))
            parts = await stack.enter_async_context(composed(settings, state_folder=tmp_path))
            serving = Serving(
                settings,
                parts.variant,
                log,
                parts.breaker,
                models=("anthropic-local/test",),
                search=search_services(settings),
                commit_s=commit_s,
                ping_s=ping_s,
            )
            server = Server(serving)
            stack.push_async_callback(server.stop)
            address = await server.start(settings.host, port)
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=address, timeout=DEADLINE_S, trust_env=False)
            )
            return RunningProxy(address, server, serving, tmp_path / "logs" / "proxy.log", http)

        yield begin
