"""The real Claude Code with keys wherever it may hold one, and all that the proxy writes or shows of its session."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e.claude_code import KEY, LATEST, Place, headless
from tests.e2e.conftest import StartProxy, settings_for
from tests.e2e.proxy_process import Proxy
from tests.e2e.session import PROMPT, Step, StumblingSession
from tests.e2e.test_recording import recorded
from tests.e2e.test_sessions import FOREIGN_MODEL, backend
from tests.reliability.test_secrets import BASIC, OURS, PAGES, PASSWORD, with_password
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.conversation import Conversation
from tests.standins.http import running
from tests.standins.script import Fault, Refusal, Reply, StreamError, ToolCall, reply

CLIENTS = {
    "ANTHROPIC_AUTH_TOKEN": "sk-ant-oat01-of-the-client-a71e55d0",
    "ANTHROPIC_CUSTOM_HEADERS": "x-mcp-authorization: Bearer mcp-bearer-of-the-client-5521",
}
READ = {  # what a tool may read: known by its shape alone
    "key": "sk-ant-api03-in-a-file-Zk3PqX9sT1",
    "github": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "bearer": "Authorization: Bearer in-a-file-1f2e3d4c5b6a7988",
}
SECRETS = [
    *OURS.values(),
    PASSWORD,
    BASIC,
    KEY,
    *(value.rpartition(" ")[2] for value in (*CLIENTS.values(), *READ.values())),
]


@dataclass(slots=True)
class LeakySession(StumblingSession):
    """The same work, whose first step also reads keys."""

    def steps(self) -> list[Step]:
        (self.project / "keys.txt").write_text("\n".join(READ.values()))
        first, *rest = StumblingSession.steps(self)

        def reads(talk: Conversation) -> ToolCall:
            call = first(talk)
            return ToolCall("Bash", {**call.input, "command": f"{call.input['command']}; echo; cat keys.txt"})

        return [reads, *rest]

    def final(self, talk: Conversation) -> Reply:
        return reply(f"The secret is {self.secret}. I read: {talk.calls[0].result}")


def shown(proxy: Proxy) -> dict[str, str]:
    """Every file of the proxy, everything it printed, and every page."""
    with httpx.Client(base_url=proxy.direct_url, trust_env=False, timeout=60) as http:
        seen = {page: http.get(page).text for page in PAGES}
        with http.stream("GET", "/v1/live") as live:
            seen["live"] = next(live.iter_text())
    return seen


def env_of(mode: str, url: Mapping[str, str]) -> dict[str, str]:
    addressed = {name: with_password(value) if name == "LOCAL_URL" else value for name, value in url.items()}
    password = {"SEARXNG_URL": with_password("http://127.0.0.1:9")}
    return {**OURS, **password, **addressed, "ANYCLAUDE_DEBUG": "3", "ANYCLAUDE_RECORD": "true"}


@pytest.mark.parametrize("mode", ["local", "claude"])  # the others share one or the other's way
def test_no_key_is_in_anything_the_proxy_writes_or_shows(mode: str, place: Place, start_proxy: StartProxy) -> None:
    said = f"these keys are wrong: {' '.join([*OURS.values(), PASSWORD, BASIC])}"
    mishaps: list[Fault | Refusal] = [Refusal(500, said), StreamError("text", message=said)]
    session = LeakySession(place.project, mishaps=mishaps if mode != "claude" else [], at=1)
    standin = (
        AnthropicStandIn(session.policy)
        if mode == "claude"
        else backend("openrouter" if mode == "openrouter" else "openai", session)
    )
    with running(standin) as server:
        env = env_of(mode, settings_for(mode, server))
        if mode == "mlx-cluster":
            env["MLX_CLUSTER_NODES"] = json.dumps([{"id": "a", "url": with_password(f"{server.url}/v1")}])
        proxy = start_proxy(server, mode=mode, env=env)
        proxy.foreign_ends = True  # the stumbling API's own words are told here
        arguments = FOREIGN_MODEL if mode != "claude" else ("--dangerously-skip-permissions",)
        session.check(headless(LATEST, PROMPT, place=place, base_url=proxy.url, env=CLIENTS, args=arguments))
        seen = shown(proxy)
        recorded(proxy, proxy.home / ".anyclaude" / "traces")
    files = [path for path in proxy.home.rglob("*") if path.is_file()]
    seen |= {str(path): path.read_text(errors="replace") for path in files}
    kept = [path for path in proxy.home.rglob("*") if ".anyclaude" in path.parts]
    assert any(path.suffix == ".log" for path in kept) and any(path.suffix == ".jsonl" for path in kept)
    assert [str(path) for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert [(name, secret) for name, text in seen.items() for secret in SECRETS if secret in text] == []
