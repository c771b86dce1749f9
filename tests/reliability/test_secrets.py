"""Keys of every kind, and everything the program writes, prints or answers: none is found in any of it.

The same runs note every address the process connects to or looks up: this machine and what was configured, no other.
"""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.proxy_process import LISTENING, environment
from tests.proxy.conftest import ASK
from tests.requirements import require_mlx
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import DEADLINE_S, StandIn, running, wait_until
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import OpenRouter
from tests.standins.script import Refusal, Turn, pieces, reply

OURS = {
    "LOCAL_API_KEY": "local-key-4f1d8a63b7",
    "OPENROUTER_API_KEY": OpenRouter.key,
    "ANTHROPIC_API_KEY": "sk-ant-api03-configured-9d2c",
    "MLX_CLUSTER_API_KEY": "cluster-key-7c02e9d4aa",
    "TAVILY_API_KEY": "tvly-configured-51c0aa",
    "BRAVE_API_KEY": "BSAconfigured77aa31",
    "ANYCLAUDE_ACCESS_TOKEN": "access-token-of-mine-0123456789",
}
PASSWORD = "pass-in-an-address-83b1"
CLIENTS = {
    "authorization": "Bearer oauth-of-the-client-a71e55",
    "x-api-key": "sk-ant-api03-of-the-client-20fe",
    "x-my-secret-token": "custom-header-of-the-client-91",
    "cookie": "session=cookie-of-the-client-1c44",
    "proxy-authorization": "Basic cHJveHktb2YtdGhlLWNsaWVudA==",
}
BASIC = b64encode(f"me:{PASSWORD}".encode()).decode()
WRITTEN = "sk-ant-api03-written-by-a-model-6e1f8b"  # the client gets it in pieces, and no piece may be elsewhere
SECRETS = [*OURS.values(), PASSWORD, BASIC, *list(pieces(WRITTEN))[1:]]
SECRETS += [value.removeprefix("Bearer ").removeprefix("session=").removeprefix("Basic ") for value in CLIENTS.values()]
PAGES = (
    "/",
    "/health/ready",
    "/v1/metrics",
    "/v1/metrics?format=prometheus",
    "/v1/circuit-breaker/metrics",
    "/v1/nodes",
)
# A `sitecustomize` of every process that is started, a model server too. uvloop connects and looks up beside Python's
# audit events, so its loop is asked itself.
WATCH = """
import os, sys
out = open(os.environ["CONTACTS"], "a", buffering=1)
with open(os.environ["CONTACTS"] + ".by", "a") as by:
    print(*sys.orig_argv, file=by)
def note(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        print(args[1][0], file=out)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print(args[0], file=out)
sys.addaudithook(note)
try:
    import uvloop
except ImportError:
    pass
else:
    class Noting(uvloop.Loop):
        async def create_connection(self, protocol_factory, host=None, port=None, **more):
            if host is not None:
                print(host, file=out)
            return await super().create_connection(protocol_factory, host, port, **more)
        async def getaddrinfo(self, host, port, **more):
            print(host, file=out)
            return await super().getaddrinfo(host, port, **more)
        async def create_datagram_endpoint(self, protocol_factory, local_addr=None, remote_addr=None, **more):
            print(remote_addr, file=out)
            return await super().create_datagram_endpoint(protocol_factory, local_addr, remote_addr, **more)
    uvloop.new_event_loop = Noting
"""
PLANTED = """
import asyncio, contextlib
from anyclaude_lab.proxy.loop import run
async def main():
    loop = asyncio.get_running_loop()
    for ask in (loop.create_connection(asyncio.Protocol, "192.0.2.1", 9), loop.getaddrinfo("far.invalid", 9)):
        with contextlib.suppress(OSError):
            await asyncio.wait_for(ask, 0.1)
run(main())
"""


@dataclass
class Watched:
    url: str
    home: Path
    contacts: Path

    def everything(self) -> dict[str, str]:
        """Every file below the home folder, by its name."""
        return {str(path): _text(path) for path in self.home.rglob("*") if path.is_file()}


def _text(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    return data.decode("utf-8", "replace")


def watching(folder: Path, contacts: Path) -> dict[str, str]:
    """The environment in which every process notes whom it contacts."""
    (folder / "watch").mkdir()
    (folder / "watch" / "sitecustomize.py").write_text(WATCH)
    return {"PYTHONPATH": str(folder / "watch"), "CONTACTS": str(contacts)}


@contextmanager
def watched(home: Path, args: list[str], env: Mapping[str, str]) -> Iterator[Watched]:
    """A proxy in a process of its own that notes whom it contacts."""
    contacts, output = home / "contacts", home / "output"
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0", *args]
    watch = watching(home, contacts)
    with output.open("wb") as out:
        process = subprocess.Popen(
            line, cwd=home, env=environment(home, {**env, **watch}), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: LISTENING.search(output.read_text()) is not None or process.poll() is not None, "start")
        found = LISTENING.search(output.read_text())
        assert found is not None, output.read_text()
        yield Watched(found[1], home, contacts)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) in (0, -signal.SIGTERM)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def with_password(url: str) -> str:
    return url.replace("//", f"//me:{PASSWORD}@")


def settings(mode: str, url: str) -> dict[str, str]:
    common = {**OURS, "ANYCLAUDE_DEBUG": "3", "ANYCLAUDE_RECORD": "true", "SEARXNG_URL": with_password(url)}
    common |= {"HTTPS_PROXY": f"http://me:{PASSWORD}@127.0.0.1:9"}
    return common | {
        "LOCAL_URL": with_password(f"{url}/v1"),
        "OPENROUTER_BASE_URL": f"{url}/v1",
        "OPENROUTER_MODEL": OpenRouter.default_model,
        "ANYCLAUDE_CLAUDE_URL": with_password(url) if mode == "local" else url,
        "MLX_CLUSTER_NODES": json.dumps([{"id": "a", "url": with_password(f"{url}/v1")}]),
    }


def turn(body: object) -> Turn:
    """An answer with a key, or an error that repeats keys of ours."""
    said = " and ".join([*OURS.values(), PASSWORD, BASIC])
    if "refuse" in json.dumps(body):
        return Refusal(401, f"these keys are wrong: {said}")
    if "break" in json.dumps(body):
        return Refusal(500, f"crashed with {said}")
    return reply(WRITTEN)


def standin(mode: str) -> StandIn:
    if mode == "claude":
        return AnthropicStandIn(turn)
    return OpenAIStandIn(turn, profile="openrouter" if mode == "openrouter" else "openai")


@pytest.mark.parametrize("mode", ["local", "openrouter", "claude", "mlx-cluster"])
def test_no_secret_is_in_any_output_and_nobody_else_is_contacted(tmp_path: Path, mode: str) -> None:
    seen: dict[str, str] = {}
    with running(standin(mode)) as server:
        env = settings(mode, server.url)
        with (
            watched(tmp_path, ["--mode", mode], env) as proxy,
            httpx.Client(base_url=proxy.url, headers=CLIENTS, trust_env=False, timeout=DEADLINE_S) as client,
        ):
            for word in ("hello", "refuse", "break"):
                ask = ASK | {"messages": [{"role": "user", "content": word}], "metadata": {"user_id": "u"}}
                for stream in (True, False):
                    answer = client.post("/v1/messages", json=ask | {"stream": stream})
                    if mode != "claude" and word != "hello":  # what the API or the model says passes unchanged
                        seen[f"{word} stream={stream}"] = answer.text
            client.post("/v1/messages", content=b"{broken")
            client.post("/v1/messages/count_tokens", json=ASK)
            for page in PAGES:
                seen[page] = client.get(page).text
            with client.stream("GET", "/v1/live") as live:
                seen["live"] = next(live.iter_text())
    with running(standin(mode)) as gone:
        env = settings(mode, gone.url)
    for words in (["anyclaude_lab.proxy", "--check-setup"], ["anyclaude_lab.cli", "settings"]):
        line = [sys.executable, "-m", *words, "--mode", mode]
        done = subprocess.run(
            line, cwd=tmp_path, env=environment(tmp_path, env), capture_output=True, text=True, timeout=DEADLINE_S
        )
        seen[" ".join(words)] = done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    seen |= proxy.everything()
    assert any(name.endswith(".log") for name in seen) and any("traces" in name for name in seen)
    found = [(name, secret) for name, text in seen.items() for secret in SECRETS if secret in text]
    assert found == []
    contacts = set(proxy.contacts.read_text().split())
    assert contacts <= {"127.0.0.1", "localhost"}
    assert contacts, "not even the backend was noted"


def test_the_search_would_find_one(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"key {OURS['LOCAL_API_KEY']}")
    assert OURS["LOCAL_API_KEY"] in Watched("", tmp_path, tmp_path).everything()[str(tmp_path / "a.log")]


@pytest.mark.engine
def test_a_model_server_that_is_started_contacts_nobody(tmp_path: Path) -> None:
    require_mlx()
    with watched(tmp_path, ["--mode", "local"], {}) as proxy:
        assert httpx.post(f"{proxy.url}/v1/messages", json=ASK, trust_env=False, timeout=DEADLINE_S).status_code == 200
    assert any(" anyclaude_lab.engine " in line for line in (tmp_path / "contacts.by").read_text().splitlines())
    assert set(proxy.contacts.read_text().split()) == {"127.0.0.1"}


def test_whom_it_contacts_would_be_noted(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLANTED)
    env = environment(tmp_path, watching(tmp_path, tmp_path / "contacts"))
    subprocess.run([sys.executable, "planted.py"], cwd=tmp_path, env=env, check=True, timeout=DEADLINE_S)
    assert set((tmp_path / "contacts").read_text().split()) == {"192.0.2.1", "far.invalid"}
