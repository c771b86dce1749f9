"""What the proxy records of real exchanges, and that it never stands in their way."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyclaude_lab.trace.read import Recorded, read_trace
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.store import Recorder
from tests.e2e.proxy_process import proxy_process
from tests.proxy.conftest import ASK, RunningProxy, StartProxy, start
from tests.standins import grammar
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import running, wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Cut, Refusal, ToolCall, Turn, reply

__all__ = ["start"]  # the fixture

SESSION = "11111111-2222-4333-8444-555555555555"
KEY = "sk-ant-api03-" + "Zz9" * 20
HEADERS = {"x-claude-code-session-id": SESSION, "x-api-key": KEY, "authorization": f"Bearer {KEY}", "cookie": "c=1"}


def begin(proxy: RunningProxy, tmp_path: Path) -> None:
    """Record from here on."""
    metrics, log = proxy.serving.metrics, proxy.serving.log
    rules = Redaction(b"k", home="/home/ada")
    proxy.serving.recorder = Recorder(
        tmp_path / "traces", rules, on_drop=metrics.trace_dropped.inc, on_trouble=log.note
    )


async def ended(proxy: RunningProxy) -> list[Recorded]:
    """Stop recording; the exchanges of the one session there is."""
    recorder = proxy.serving.recorder
    assert recorder is not None
    await asyncio.to_thread(recorder.close)
    (file,) = recorder.folder.iterdir()
    trace = read_trace(file)
    assert trace.complaints == []
    return trace.exchanges


async def ask(proxy: RunningProxy, **changes: Any) -> httpx.Response:
    return await proxy.http.post("/v1/messages?beta=true", json=ASK | changes, headers=HEADERS)


@pytest.mark.parametrize("mode", ["local", "claude"])
async def test_headers_may_be_no_text(start: StartProxy, tmp_path: Path, mode: str) -> None:
    given = {b"x-claude-code-session-id": b"caf\xe9", b"user-agent": b"\xff\xfe", b"x-api-key": b"k"}
    server: OpenAIStandIn | AnthropicStandIn = OpenAIStandIn([reply("ok")])
    server = AnthropicStandIn([reply("ok")]) if mode == "claude" else server
    async with server as backend:
        (tmp_path / ".anyclauderc.json").write_text(json.dumps({"backends": {"claude": {"baseUrl": backend.url}}}))
        proxy = await start(backend.url, env={"ANYCLAUDE_MODE": mode, "ANYCLAUDE_DEBUG": "3"})
        begin(proxy, tmp_path)
        answer = await proxy.http.post("/v1/messages", json=ASK, headers=given)
        (exchange,) = await ended(proxy)
    assert answer.status_code == 200 and exchange.answer.encode() == answer.content
    assert ["user-agent", "\ufffd\ufffd"] in exchange.data["request"]["headers"]
    assert "Traceback" not in proxy.log_file.read_text()


async def test_a_translated_stream_is_kept_as_the_client_got_it(start: StartProxy, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply("One two three", ToolCall("Read", {"file_path": "/a"}))]) as backend:
        proxy = await start(backend.url)
        begin(proxy, tmp_path)
        answer = await ask(proxy)
        (exchange,) = await ended(proxy)
    assert exchange.answer.encode() == answer.content
    assert exchange.body.encode() == answer.request.content
    assert exchange.data["request"]["exact"] is exchange.data["response"]["exact"] is True
    assert (exchange.data["session"], exchange.data["ending"]) == (SESSION, "complete")
    assert exchange.data["usage"]["output_tokens"] > 0
    assert exchange.data["sent"]["max_tokens"] == 1000
    offsets = [offset for offset, _ in exchange.pieces if offset is not None]
    assert offsets == sorted(offsets)
    assert offsets[0] >= 0


async def test_a_whole_answer_and_a_session_in_one_file(start: StartProxy, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply("One"), reply("Two")]) as backend:
        proxy = await start(backend.url)
        begin(proxy, tmp_path)
        answers = [await ask(proxy, stream=False), await ask(proxy)]
        exchanges = await ended(proxy)
    assert [exchange.answer.encode() for exchange in exchanges] == [answer.content for answer in answers]
    assert exchanges[0].data["started_s"] < exchanges[1].data["started_s"]


@pytest.mark.parametrize("gzip", [False, True])
async def test_passthrough_is_kept_readable(start: StartProxy, tmp_path: Path, gzip: bool) -> None:
    async with AnthropicStandIn([reply("One", ToolCall("Bash", {"command": "ls"}))], gzip=gzip) as api:
        proxy = await start(flags={"mode": "claude"}, env={"ANYCLAUDE_CLAUDE_URL": api.url})
        begin(proxy, tmp_path)
        answer = await ask(proxy)
        (exchange,) = await ended(proxy)
    assert (answer.headers.get("content-encoding") == "gzip") is gzip
    assert exchange.answer.encode() == answer.content
    assert exchange.data["sent"] is None
    assert exchange.data["response"]["exact"] is True


async def test_no_credential_and_no_secret_reaches_the_disk(start: StartProxy, tmp_path: Path) -> None:
    said = f"your key is {KEY}, in /home/ada/.env"
    async with OpenAIStandIn([reply(said, ToolCall("Bash", {"command": f"export K={KEY}"}))], piece_bytes=5) as backend:
        proxy = await start(backend.url)
        begin(proxy, tmp_path)
        answer = await ask(proxy, messages=[{"role": "user", "content": f"My key: {KEY}"}])
        (exchange,) = await ended(proxy)
    assert KEY in "".join(data.get("delta", {}).get("text", "") for _, data in grammar.events(answer.content))
    for file in (tmp_path / "traces").iterdir():
        stored = file.read_text()
        assert KEY not in stored
        assert "Zz9" not in stored
        assert "/home/ada" not in stored
        assert "cookie" not in stored
        assert "authorization" not in stored
    assert exchange.data["request"]["exact"] is False
    assert exchange.data["response"]["exact"] is False
    assert len(exchange.body) == len(answer.request.content)
    assert len(exchange.answer) == len(answer.text)
    assert grammar.violations(exchange.answer.encode()) == []


async def test_failures_are_recorded_as_what_they_were(start: StartProxy, tmp_path: Path) -> None:
    turns: list[Turn] = [reply("One two three four", fault=Cut("text")), Refusal(429, "Slow down")]
    async with OpenAIStandIn(turns) as backend:
        proxy = await start(backend.url)
        begin(proxy, tmp_path)
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(proxy)
        assert (await ask(proxy)).status_code == 429
        cut, refused = await ended(proxy)
    assert (cut.data["ending"], cut.data["response"]["status"]) == ("cut", 200)
    assert "message_stop" not in cut.answer
    assert refused.data["response"]["status"] == 429
    assert "Slow down" in refused.data["error"]


async def test_a_disk_that_fails_costs_no_request_and_is_said_once(start: StartProxy, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply("One"), reply("Two"), reply("Three")]) as backend:
        proxy = await start(backend.url)
        begin(proxy, tmp_path)
        (tmp_path / "traces").rmdir()
        (tmp_path / "traces").write_text("in the way")
        for _ in range(2):
            assert (await ask(proxy)).status_code == 200
        dropped = proxy.serving.metrics.registry
        await wait_until_async(lambda: dropped.get_sample_value("anyclaude_trace_dropped_total") == 2, "both dropped")
        (tmp_path / "traces").unlink()
        answer = await ask(proxy)
        (third,) = await ended(proxy)
    assert third.answer.encode() == answer.content
    assert proxy.log_file.read_text().count("was not recorded") == 1


async def test_off_means_nothing_is_written(start: StartProxy, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply("One")]) as backend:
        proxy = await start(backend.url)
        assert (await ask(proxy)).status_code == 200
    assert not list(tmp_path.rglob("*.jsonl"))


def test_the_program_records_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "my traces"
    with running(OpenAIStandIn([reply("One")])) as backend:
        local = {"LOCAL_URL": f"{backend.url}/v1"}
        with proxy_process(tmp_path / "home", ["--record", str(folder)], local) as proxy:
            assert f"recording to {folder}" in proxy.output.read_text()
            assert httpx.post(f"{proxy.url}/v1/messages", json=ASK, headers=HEADERS, timeout=60).status_code == 200
    (file,) = folder.iterdir()
    (exchange,) = read_trace(file).exchanges
    assert json.loads(exchange.body) == ASK
    if sys.platform != "win32":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--record", str(tmp_path / "file")]
    env = {**os.environ, "HOME": str(tmp_path), "LOCAL_URL": "http://127.0.0.1:9/v1"}
    ended = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "--no-record" in ended.stderr
    assert "Traceback" not in ended.stderr
