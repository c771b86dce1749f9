"""`lab.Proxy`: started from Python, and gone with its block, whichever way that is left."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings import load_settings
from tests.proxy.conftest import ASK, said
from tests.requirements import require_mlx
from tests.standins.http import DEADLINE_S, running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply

LEFT_RUNNING = """
import asyncio, httpx, sys
import anyclaude_lab as lab

async def main():
    proxy = await lab.Proxy(json := {settings!r}).start()
    answer = httpx.post(proxy.url + "/v1/messages", json={ask!r}, timeout=60, trust_env=False)
    print(answer.status_code)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def answered(url: str) -> dict[str, Any]:
    return {"local": {"baseUrl": f"{url}/v1"}}


def ask(url: str) -> httpx.Response:
    """By a synchronous client, which keeps the caller's event loop from running."""
    return httpx.post(f"{url}/v1/messages", json=ASK, timeout=DEADLINE_S, trust_env=False)


def is_gone(url: str) -> bool:
    try:
        httpx.get(f"{url}/health/live", timeout=DEADLINE_S, trust_env=False)
    except httpx.ConnectError:
        return not any(thread.name == "anyclaude-proxy" for thread in threading.enumerate())
    return False


async def test_it_answers_a_caller_that_blocks_records_and_tells_what_claude_code_needs(tmp_path: Path) -> None:
    with running(OpenAIStandIn([reply("hello"), reply("again")])) as backend:
        async with lab.Proxy(record=tmp_path / "traces", backends=answered(backend.url)) as proxy:
            url = proxy.url
            assert "hello" in said(ask(url)) and "again" in said(ask(proxy.url))
            assert proxy.url.startswith("http://127.0.0.1:")
            assert proxy.metrics()["anyclaude_prompt_tokens_total"] > 0
            assert proxy.start_line.startswith(f"ANTHROPIC_BASE_URL={proxy.url} ")
            told = proxy.environment.applied_to({"ANTHROPIC_API_KEY": "sk-ant-mine", "PATH": "/bin"})
            assert (told["ANTHROPIC_BASE_URL"], told["ANTHROPIC_MODEL"]) == (proxy.url, proxy.model)
            assert "ANTHROPIC_API_KEY" not in told and told["PATH"] == "/bin"
            assert url in repr(proxy)
        assert is_gone(url)
    assert proxy.recording_folder == tmp_path / "traces"
    assert len(lab.load(proxy.recording_folder).turns) == 2


async def test_cells_share_one_that_is_started_and_stopped_and_may_start_again() -> None:
    with running(OpenAIStandIn([reply("one"), reply("two")])) as backend:
        proxy = lab.Proxy({"backends": answered(backend.url)})
        with pytest.raises(SettingsError, match="does not run"):
            _ = proxy.url
        first = (await proxy.start()).url
        assert (await proxy.start()).url == first
        assert "one" in said(ask(first))
        await proxy.stop()
        await proxy.stop()
        assert is_gone(first) and "not running" in repr(proxy)
        async with proxy:
            assert "two" in said(ask(proxy.url))


async def _fails() -> None:
    raise ValueError("a mistake in the block")


async def _is_cancelled() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize(("leave", "by"), [(_fails, ValueError), (_is_cancelled, asyncio.CancelledError)])
async def test_an_exception_and_a_cancellation_end_it_too(
    leave: Callable[[], Awaitable[None]], by: type[BaseException], tmp_path: Path
) -> None:
    urls: list[str] = []

    async def block() -> None:
        async with lab.Proxy(record="traces", backends=answered(backend.url)) as proxy:
            urls.append(proxy.url)
            ask(proxy.url)
            await leave()

    with running(OpenAIStandIn([reply("hello")])) as backend:
        with pytest.raises(by):
            await asyncio.create_task(block())
        assert is_gone(urls[0])
    assert len(lab.load(tmp_path / "traces").turns) == 1


async def test_a_start_that_is_cancelled_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with running(OpenAIStandIn()) as backend:
        task = asyncio.create_task(lab.Proxy(backends=answered(backend.url)).start())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()  # an exception that nobody took is told of when its future is collected
    assert not any(thread.name == "anyclaude-proxy" for thread in threading.enumerate())
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]


async def test_a_start_that_fails_says_why_and_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "traces").write_text("in the way")
    with running(OpenAIStandIn()) as backend:
        proxy = lab.Proxy(record="traces", backends=answered(backend.url))
        with pytest.raises(SettingsError, match="Sessions cannot be recorded in"):
            await proxy.start()
        (tmp_path / "traces").unlink()
        async with proxy:
            assert httpx.get(f"{proxy.url}/health/live", trust_env=False, timeout=DEADLINE_S).status_code == 200


def test_a_program_that_ends_without_stopping_it_has_its_recording(tmp_path: Path) -> None:
    with running(OpenAIStandIn([reply("hello")])) as backend:
        code = LEFT_RUNNING.format(settings={"record": "traces", "backends": answered(backend.url)}, ask=ASK)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S
        )
    assert (done.stdout, done.stderr, done.returncode) == ("200\n", "", 0)
    assert len(lab.load(tmp_path / "traces").turns) == 1


MISTAKES: list[dict[str, Any]] = [
    {"filterTeir": "off"},
    {"backend": "locl"},
    {"backends": {"local": {"filterTier": "most"}}},
    {"backends": {"local": []}},
    {"port": "many"},
    {"debug": {"level": 9}},
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistakes_are_told_as_those_of_a_file(mistake: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(mistake))
    with pytest.raises(SettingsError) as in_file:
        load_settings({}, {}, cwd=tmp_path, home=tmp_path, config_file=file)
    with pytest.raises(SettingsError) as in_code:
        lab.Proxy(mistake)
    assert str(in_code.value) == str(in_file.value).replace(str(file), "lab.Proxy")


def test_what_is_given_beats_environment_and_files_and_they_fill_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".anyclauderc.json").write_text(json.dumps({"port": 4000, "requestTimeout": 70_000}))
    monkeypatch.setenv("ANYCLAUDE_MODE", "claude")
    monkeypatch.setenv("LOCAL_URL", "http://127.0.0.1:9/v1")
    settings = lab.Proxy(backend="local").settings
    assert (settings.mode, settings.local.base_url) == ("local", "http://127.0.0.1:9/v1")
    assert (settings.port, settings.request_timeout_s) == (0, 70.0)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_it_listens_to_this_machine_only(host: str) -> None:
    with pytest.raises(SettingsError, match=f"host is {host}; allowed: 127.0.0.1"):
        lab.Proxy(host=host)


@pytest.mark.engine
async def test_the_demonstration_model_answers_and_is_let_go(tmp_path: Path) -> None:
    require_mlx()
    order = {"model": "any", "max_tokens": 60, "messages": [{"role": "user", "content": "run `ls -la src`"}]}
    bash = {"name": "Bash", "description": "Runs.", "input_schema": {"properties": {"command": {"type": "string"}}}}
    async with lab.Proxy(state_folder=tmp_path / "state") as proxy:
        assert proxy.model == "anthropic-local/embedded"
        answer = httpx.post(f"{proxy.url}/v1/messages", json=order | {"tools": [bash]}, timeout=300, trust_env=False)
        assert answer.json()["content"][-1]["input"] == {"command": "ls -la src"}
        held = [file for file in (tmp_path / "state" / "run").rglob("*") if file.name.startswith(str(os.getpid()))]
        assert held
    assert not any(file.exists() for file in held)
