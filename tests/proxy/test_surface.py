"""Every route of the public surface, the guard at the door, and where the proxy listens."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anthropic
import httpx
import pytest

from anyclaude_lab.settings import PREFERRED_PORT
from tests.e2e.proxy_process import environment
from tests.proxy.conftest import ASK, StartProxy, said
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import DEADLINE_S
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply

PORT_DEADLINE_S = 120

PAGES = [
    ("/", "text/html"),
    ("/health/live", "application/json"),
    ("/health/ready", "application/json"),
    ("/v1/metrics", "application/json"),
    ("/v1/circuit-breaker/metrics", "application/json"),
    ("/v1/models", "application/json"),
]


@pytest.mark.parametrize(("path", "kind"), PAGES)
async def test_every_page_answers(start: StartProxy, path: str, kind: str) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] == kind
        assert answer.content


@pytest.mark.parametrize("path", ["/", "/api/hello", "/health/live", "/health/ready"])
async def test_heads_are_answered_without_a_body(start: StartProxy, path: str) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


async def test_both_messages_routes_take_any_query(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("hello")]) as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.post("/v1/messages?beta=true&x=1", json=ASK)
        assert "hello" in said(answer)
        counting = {key: value for key, value in ASK.items() if key not in ("max_tokens", "stream")}
        counted = await proxy.http.post("/v1/messages/count_tokens?beta=true", json=counting)
        assert counted.json()["input_tokens"] > 0


async def test_models_are_listed_in_the_shape_of_the_sdk_and_found_by_the_client(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key="x", max_retries=0) as client:
            listed = [model async for model in client.models.list()]
            assert listed
            # Claude Code offers a gateway's models only where the id holds "claude" or "anthropic".
            assert all("anthropic" in model.id and model.type == "model" and model.created_at for model in listed)
            assert (await client.models.retrieve(listed[0].id)).id == listed[0].id
            with pytest.raises(anthropic.NotFoundError):
                await client.models.retrieve("nothing")
        assert backend.chats == []


async def test_an_unknown_path_is_refused_in_the_apis_envelope(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.get("/v1/nothing?x=1")
        assert answer.status_code == 404
        body = answer.json()
        assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
        assert "/v1/nothing" in body["error"]["message"]
        assert body["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/messages", "POST"),
        ("DELETE", "/v1/metrics", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/v1/messages/count_tokens", "POST"),
    ],
)
async def test_a_wrong_method_says_which_is_right(start: StartProxy, method: str, path: str, allowed: str) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        assert allowed in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "accept", "is_json"),
    [
        ("", "*/*", True),
        ("", "application/json", True),
        ("", "text/plain", False),
        ("", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", False),
        ("?format=prometheus", "application/json", False),
        ("?format=json", "text/plain", True),
    ],
)
async def test_metrics_come_in_the_form_that_was_asked_for(
    start: StartProxy, query: str, accept: str, is_json: bool
) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.get(f"/v1/metrics{query}", headers={"accept": accept})
        assert answer.status_code == 200
        if is_json:
            assert answer.json()["mode"] == "local"
        else:
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert answer.text.startswith("# HELP")


async def test_an_unknown_form_of_metrics_is_named(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.get("/v1/metrics?format=xml")
        assert answer.status_code == 400
        assert "xml" in answer.json()["error"]["message"]


async def test_ready_is_503_while_the_breaker_is_open_and_alive_stays_200(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        port, url = backend.port, backend.url
    proxy = await start(url)
    for _ in range(5):
        assert (await proxy.ask()).status_code == 529
    async with OpenAIStandIn(port=port):  # the backend is back, but it is still left alone
        ready = await proxy.http.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "not_ready"
        assert ready.json()["checks"]["circuit_breaker"] == {"state": "OPEN", "failure_count": 5}
        assert ready.json()["checks"]["backend"]["problem"] is None
        assert (await proxy.http.get("/health/live")).status_code == 200


LOOPBACK_HOSTS = ("127.0.0.1", "127.0.0.1:1", "localhost:49152", "LOCALHOST", "[::1]", "[::1]:49152")
FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "[::2]",
)


@pytest.mark.parametrize("mode", ["local", "claude"])
async def test_only_this_machines_names_are_answered(start: StartProxy, mode: str) -> None:
    async with AnthropicStandIn() as backend:
        env = {"ANYCLAUDE_CLAUDE_URL": backend.url, "LOCAL_URL": backend.url}
        proxy = await start(env=env, flags={"mode": mode, "record": False})
        for host in LOOPBACK_HOSTS:
            answer = await proxy.http.get("/health/live", headers={"host": host})
            assert answer.status_code == 200, host
        for host in FOREIGN_HOSTS:
            for path in ("/", "/v1/metrics", "/v1/messages"):
                answer = await proxy.http.get(path, headers={"host": host})
                assert answer.status_code == 403, host
                assert answer.json()["error"]["type"] == "permission_error"
        assert not [e for e in backend.exchanges if e.path == "/v1/messages"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:3000", 403),  # a page of another server on this machine
        ("{own}", 200),
    ],
)
async def test_a_page_of_another_site_cannot_spend_tokens(start: StartProxy, origin: str, status: int) -> None:
    async with OpenAIStandIn([reply("hello")]) as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.post(
            "/v1/messages", json=ASK, headers={"origin": origin.format(own=proxy.url), "content-type": "text/plain"}
        )
        assert answer.status_code == status
        assert len(backend.chats) == (1 if status == 200 else 0)


async def test_a_proxy_that_listens_everywhere_can_be_called_at_home(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url, flags={"host": "0.0.0.0"})
        assert httpx.URL(proxy.url).host == "127.0.0.1"  # an address that can be called, and stands in NO_PROXY
        assert (await proxy.http.get("/v1/metrics")).status_code == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_it_listens_on_ipv6(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("six")]) as backend:
        proxy = await start(backend.url, flags={"host": "::1"})
        assert proxy.url.startswith("http://[::1]:")
        assert "six" in said(await proxy.ask())


def run_proxy(home: Path, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", *args]
    variables = environment(home, {"LOCAL_URL": "http://127.0.0.1:9/v1", **(env or {})})
    return subprocess.run(line, cwd=home, env=variables, capture_output=True, text=True, timeout=DEADLINE_S)


def test_a_named_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_proxy(tmp_path, "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(port) in done.stderr and "--port" in done.stderr


def test_an_address_that_is_not_ours_is_one_sentence(tmp_path: Path) -> None:
    done = run_proxy(tmp_path, "--host", "192.0.2.1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "192.0.2.1" in done.stderr and "--host" in done.stderr


@contextmanager
def running_proxy(home: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A proxy process on the port it chooses by itself; its URL is the last word of its first line."""
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only"]
    env = environment(home, {"LOCAL_URL": "http://127.0.0.1:9/v1"})
    process = subprocess.Popen(line, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1], process
    finally:
        process.kill()
        process.communicate()


def test_without_a_named_port_a_busy_one_is_left_and_said_so(tmp_path: Path) -> None:
    with taken_port(PREFERRED_PORT), running_proxy(tmp_path) as (url, process):
        assert httpx.get(f"{url}/health/live", trust_env=False, timeout=DEADLINE_S).status_code == 200
        process.terminate()
        _, printed = process.communicate(timeout=DEADLINE_S)
    said_so = [line for line in printed.splitlines() if str(PREFERRED_PORT) in line]
    assert len(said_so) == 1
    assert url.rsplit(":", 1)[1] in said_so[0]


@contextmanager
def taken_port(port: int) -> Iterator[None]:
    """Hold the port; where another test holds it, wait for one's turn."""
    until = time.monotonic() + PORT_DEADLINE_S
    while True:
        try:
            server = socket.create_server(("127.0.0.1", port))
            break
        except OSError:
            assert time.monotonic() < until, f"port {port} is never free"
            time.sleep(0.1)
    with server:
        yield


def test_an_open_dashboard_is_told_the_end_and_does_not_hold_it_up(tmp_path: Path) -> None:
    with running_proxy(tmp_path) as (url, process), httpx.Client(trust_env=False, timeout=DEADLINE_S) as http:
        with http.stream("GET", f"{url}/v1/live") as feed:
            assert feed.headers["content-type"].startswith("text/event-stream")
            process.terminate()
            assert list(feed.iter_lines()) == []  # an end, not a connection that breaks after the time limit
        assert process.wait(DEADLINE_S) == 0
