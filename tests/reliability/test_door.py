"""The door: who is let in, what is no HTTP, and that no request makes the proxy ask somebody else."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import stat
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import httpx
import psutil
import pytest

from anyclaude_lab.errors import Forbidden, Unauthenticated
from anyclaude_lab.proxy.server import Server
from anyclaude_lab.proxy.serving import MAX_BODY_BYTES, Serving
from anyclaude_lab.settings import Secret
from tests.e2e.proxy_process import environment
from tests.proxy.conftest import ASK, RunningProxy, StartProxy, said, start
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import DEADLINE_S, wait_until
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply

__all__ = ["start"]

TOKEN = "a-token-for-other-machines"


def _own_address() -> str | None:
    """An address of this machine that is not loopback, if it has one."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return one.address
    return None


async def raw(proxy: RunningProxy, data: bytes, *, deadline_s: float = DEADLINE_S) -> bytes:
    """What comes back for these bytes until the connection is closed or nothing more comes."""
    url = httpx.URL(proxy.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(data)
    got = bytearray()
    try:
        async with asyncio.timeout(deadline_s):
            while piece := await reader.read(65536):
                got += piece
                if b"\r\n\r\n" in got:
                    break
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return bytes(got)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def post(*headers: str, body: bytes = b"{}", line: str = "POST /v1/messages HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: 127.0.0.1", *headers, "", ""]).encode() + body


NO_HTTP = {
    "a length and chunks": post("Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks and a length": post("Transfer-Encoding: chunked", "Content-Length: 2", body=b"0\r\n\r\n"),
    "two lengths": post("Content-Length: 2", "Content-Length: 3"),
    "the same length twice": post("Content-Length: 2", "Content-Length: 2"),
    "a list of lengths": post("Content-Length: 2, 3"),
    "a signed length": post("Content-Length: +2"),
    "a negative length": post("Content-Length: -2"),
    "an unknown coding": post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked not last": post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "chunked twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a space before the colon": post("Content-Length : 2"),
    "a folded header": post("X-A: b\r\n c", "Content-Length: 2"),
    "a zero byte": post("X-A: b\x00c", "Content-Length: 2"),
    "a lone carriage return": post("X-A: b\rContent-Length: 2"),
    "lone line feeds": b"POST /v1/messages HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 2\n\n{}",
    "a size with a prefix": post("Transfer-Encoding: chunked", body=b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a negative size": post("Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n0\r\n\r\n"),
    "a broken extension": post("Transfer-Encoding: chunked", body=b"2;a=\nb\r\n{}\r\n0\r\n\r\n"),
    "two hosts": post("Host: 127.0.0.1", "Content-Length: 2"),
    "no host": b"POST /v1/messages HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "a long line": post("Content-Length: 2", line=f"POST /{'a' * 20_000} HTTP/1.1"),
    "a long header": post(f"X-A: {'a' * 20_000}", "Content-Length: 2"),
    "many headers": post(*(f"X-{i}: {'a' * 100}" for i in range(5000)), "Content-Length: 2"),
    "no method": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "a path without a slash": post("Content-Length: 2", line="POST @evil.example/v1/messages HTTP/1.1"),
}


@pytest.mark.parametrize("mode", ["local", "claude"])
async def test_what_two_readers_could_read_differently_is_refused(start: StartProxy, mode: str) -> None:
    async with AnthropicStandIn() as backend:
        env = {"ANYCLAUDE_CLAUDE_URL": backend.url, "LOCAL_URL": backend.url}
        proxy = await start(env=env, flags={"mode": mode, "record": False})
        answers = await asyncio.gather(*(raw(proxy, data) for data in NO_HTTP.values()))
        statuses = {name: status_of(answer) for name, answer in zip(NO_HTTP, answers, strict=True)}
        assert statuses == dict.fromkeys(NO_HTTP, 400)
        assert backend.exchanges == []
        assert (await proxy.http.get("/health/live")).status_code == 200
        noted = proxy.log_file.read_text()
        assert "Transfer-Encoding" in noted and "Traceback" not in noted


async def test_a_second_request_does_not_hide_in_the_first(start: StartProxy) -> None:
    async with AnthropicStandIn() as backend:
        proxy = await start(env={"ANYCLAUDE_CLAUDE_URL": backend.url}, flags={"mode": "claude", "record": False})
        hidden = b"GET /v1/hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await raw(
            proxy, post(f"Content-Length: {len(hidden)}", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + hidden)
        )
        await raw(proxy, post(f"Content-Length: {len(hidden)}", body=hidden))
        assert [exchange.path for exchange in backend.exchanges] == ["/v1/messages"]
        assert backend.exchanges[0].body == hidden


@pytest.mark.parametrize(
    "line",
    [
        "GET http://evil.example/v1/metrics HTTP/1.1",
        "POST http://evil.example/v1/messages HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ],
)
@pytest.mark.parametrize("mode", ["local", "claude"])
async def test_no_request_line_leads_elsewhere(start: StartProxy, mode: str, line: str) -> None:
    async with AnthropicStandIn() as backend:
        env = {"ANYCLAUDE_CLAUDE_URL": backend.url, "LOCAL_URL": backend.url}
        proxy = await start(env=env, flags={"mode": mode, "record": False})
        assert status_of(await raw(proxy, post("Content-Length: 2", line=line))) in (403, 404, 405)
        assert backend.exchanges == []


@pytest.mark.parametrize("path", ["/v1/messages/", "/v1/messages/?beta=true"])
async def test_one_slash_too_many_is_forgiven(start: StartProxy, path: str) -> None:
    async with OpenAIStandIn([reply("hello")]) as backend:
        proxy = await start(backend.url)
        assert "hello" in said(await proxy.http.post(path, json=ASK))
        assert (await proxy.http.get("/v1/models/")).status_code == 200
        counted = {s["labels"]["endpoint"] for s in (await proxy.metric("anyclaude_requests_total"))}
        assert "/v1/messages" in counted


@pytest.mark.parametrize("mode", ["local", "mlx-cluster"])
@pytest.mark.parametrize(
    "path", ["/v1/complete", "/v1/messages/batches", "/v1/files", "/../etc/passwd", "/v1/messages//"]
)
async def test_an_unknown_path_is_answered_here(start: StartProxy, mode: str, path: str) -> None:
    async with OpenAIStandIn() as backend:
        nodes = f'[{{"id": "a", "url": "{backend.url}/v1"}}]'
        proxy = await start(env={"LOCAL_URL": f"{backend.url}/v1", "MLX_CLUSTER_NODES": nodes}, flags={"mode": mode})
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = await raw(proxy, post("Content-Length: 2", line=f"{method} {path} HTTP/1.1"))
            assert status_of(answer) == 404
        assert backend.exchanges == []


# Beyond this machine


async def open_to_all(start: StartProxy, url: str, token: str | None = TOKEN, **options: object) -> RunningProxy:
    """A proxy on every address. What it is asked from here under a foreign name stands for another machine."""
    proxy: RunningProxy = await start(url, **options)
    settings = proxy.serving.settings
    object.__setattr__(settings, "host", "0.0.0.0")
    serving = Serving(
        settings,
        proxy.serving.variant,
        proxy.serving.log,
        models=("anthropic-local/test",),
        access_token=Secret(token) if token else None,
    )
    server = Server(serving)
    await server.start("0.0.0.0", 0)
    http = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{server.port}", headers={"host": "desk.lan"}, timeout=DEADLINE_S, trust_env=False
    )
    return RunningProxy(f"http://127.0.0.1:{server.port}", server, serving, proxy.log_file, http)


CARRIED = [
    {"authorization": f"Bearer {TOKEN}"},
    {"x-api-key": TOKEN},
    {"x-anyclaude-token": TOKEN, "x-api-key": "sk-ant-own"},
    {"authorization": "Basic " + b64encode(f"me:{TOKEN}".encode()).decode()},
]
WRONG = [
    {},
    {"authorization": "Bearer wrong"},
    {"x-api-key": TOKEN[:-1]},
    {"x-api-key": TOKEN + "x"},
    {"x-api-key": ""},
    {"authorization": "Basic !!!"},
    {"cookie": f"token={TOKEN}"},
]


async def test_other_machines_need_the_token(start: StartProxy) -> None:
    async with OpenAIStandIn(lambda body: reply("hello")) as backend:
        proxy = await open_to_all(start, backend.url)
        for headers in WRONG:
            for path in ("/", "/v1/metrics", "/v1/live", "/health/ready", "/v1/models"):
                refused = await proxy.http.get(path, headers=headers)
                assert refused.status_code == Unauthenticated.status, (path, headers)
                assert TOKEN not in refused.text and "basic" in refused.headers["www-authenticate"].lower()
            assert (await proxy.http.post("/v1/messages", json=ASK, headers=headers)).status_code == 401
        assert backend.chats == []
        for headers in CARRIED:
            assert (await proxy.http.get("/", headers=headers)).status_code == 200
            assert "hello" in said(await proxy.http.post("/v1/messages", json=ASK, headers=headers))
        assert (await proxy.http.get("/health/live")).json() == {"status": "alive"}
        await proxy.http.aclose()


async def test_this_machine_needs_none_and_a_page_of_a_stranger_gets_nothing(start: StartProxy) -> None:
    async with OpenAIStandIn(lambda body: reply("hello")) as backend:
        proxy = await open_to_all(start, backend.url)
        assert (await proxy.http.get("/v1/metrics", headers={"host": "127.0.0.1"})).status_code == 200
        page = {"origin": "https://evil.example", **CARRIED[0]}
        for host in ("127.0.0.1", "desk.lan"):
            refused = await proxy.http.post("/v1/messages", json=ASK, headers={"host": host, **page})
            assert refused.status_code == Forbidden.status
        own = {"origin": "http://desk.lan", **CARRIED[0]}
        assert (await proxy.http.get("/v1/metrics", headers=own)).status_code == 200
        assert backend.chats == []
        await proxy.http.aclose()


async def test_without_a_token_nobody_is_let_in(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await open_to_all(start, backend.url, token=None)
        for headers in (*WRONG, *CARRIED):
            assert (await proxy.http.get("/v1/metrics", headers=headers)).status_code == 401
        await proxy.http.aclose()


async def test_another_address_of_this_machine_is_another_machine(start: StartProxy) -> None:
    address = _own_address()
    if address is None:
        pytest.skip("this machine has loopback addresses only")
    async with OpenAIStandIn() as backend:
        proxy = await open_to_all(start, backend.url)
        url = f"http://{address}:{httpx.URL(proxy.url).port}/v1/metrics"
        for host in (address, "127.0.0.1"):
            assert (await proxy.http.get(url, headers={"host": host})).status_code == 401
        await proxy.http.aclose()


async def test_our_token_goes_no_further(start: StartProxy) -> None:
    async with AnthropicStandIn([reply("one"), reply("two")]) as api:
        env = {"ANYCLAUDE_CLAUDE_URL": api.url}
        proxy = await open_to_all(start, "", env=env, flags={"mode": "claude", "record": False})
        for headers in (CARRIED[2], {"authorization": f"Bearer {TOKEN}", "x-api-key": "sk-ant-own"}):
            answer = await proxy.http.post("/v1/messages", json=ASK, headers=headers)
            assert answer.status_code == 200
        for exchange in api.exchanges:
            assert not any(TOKEN in value for _, value in exchange.headers)
            assert exchange.header("x-api-key") == "sk-ant-own"
        await proxy.http.aclose()


def test_an_open_door_is_said_loudly(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0", "--host", "0.0.0.0"]
    env = environment(tmp_path, {"LOCAL_URL": "http://127.0.0.1:9/v1"})
    output = tmp_path / "output"
    with output.open("wb") as out:
        process = subprocess.Popen(line, cwd=tmp_path, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "listening on http" in output.read_text(), "it listens")
        said_first = output.read_text()
        assert "WARNING" in said_first and "access token" in said_first
        url = next(word for word in said_first.split() if word.startswith("http://127.0.0.1:"))
        token = said_first.split("access token ")[1].split()[0]
        assert len(token) >= 32
        foreign = {"host": "desk.lan"}
        assert httpx.get(f"{url}/v1/metrics", headers=foreign, trust_env=False, timeout=DEADLINE_S).status_code == 401
        given = foreign | {"x-api-key": token}
        assert httpx.get(f"{url}/v1/metrics", headers=given, trust_env=False, timeout=DEADLINE_S).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0", "--host", "0.0.0.0"]
    env = environment(tmp_path, {"LOCAL_URL": "http://127.0.0.1:9/v1", "ANYCLAUDE_ACCESS_TOKEN": "short"})
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2
    assert "accessToken" in done.stderr and "short" not in done.stderr.replace("too short", "")


# Bodies


async def test_a_small_body_that_inflates_beyond_the_cap_is_refused(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        bomb = gzip.compress(bytes(8 * MAX_BODY_BYTES), 1)
        before = psutil.Process().memory_info().rss
        refused = await proxy.http.post("/v1/messages", content=bomb, headers={"content-encoding": "gzip"})
        assert refused.status_code == 413
        assert psutil.Process().memory_info().rss - before < 3 * MAX_BODY_BYTES
        assert backend.chats == []


def test_what_is_written_is_its_owners_alone(tmp_path: Path) -> None:
    """Log, traces and approvals after a request, with an open umask."""
    old = os.umask(0)
    try:
        _serve_one_request(tmp_path)
    finally:
        os.umask(old)
    written = [path for path in (tmp_path / ".anyclaude").rglob("*") if "pycache" not in path.parts]
    assert any(path.suffix == ".log" for path in written) and len(written) > 3
    for path in (tmp_path / ".anyclaude", *written):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path}: {mode:o}"


def _serve_one_request(home: Path) -> None:
    from tests.e2e.proxy_process import proxy_process
    from tests.standins.http import running

    with running(OpenAIStandIn([reply("hello")])) as backend:
        env = {"LOCAL_URL": f"{backend.url}/v1", "ANYCLAUDE_RECORD": "true", "ANYCLAUDE_DEBUG": "3"}
        with proxy_process(home, [], env) as proxy:
            assert (
                httpx.post(f"{proxy.direct_url}/v1/messages", json=ASK, trust_env=False, timeout=DEADLINE_S).status_code
                == 200
            )
