"""The engine as its own process: started as people start it, and as the proxy does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.engine.own_server import EngineOptions, own_server
from anyclaude_lab.engine.servers import shared_server
from tests.processes import DEADLINE_S, until
from tests.standins.http import kept_port

pytestmark = pytest.mark.engine

TALK = [{"role": "system", "content": "s" * 600}, {"role": "user", "content": "Hello"}]
TOOLS = [{"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}]


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data), timeout=DEADLINE_S) as response:
        return json.load(response)


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as port:
        yield port


def start(port: int, *arguments: object) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "anyclaude_lab.engine", "--port", str(port), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True), f"http://127.0.0.1:{port}"


def answers(url: str) -> bool:
    with suppress(OSError):
        return bool(ask(url, "/health")["status"] == "ok")
    return False


def cached(url: str) -> int:
    answer = ask(url, "/v1/chat/completions", {"messages": TALK, "tools": TOOLS, "max_tokens": 2})
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_the_head_outlives_the_process(port: int, model_folders: dict[str, Path], tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        process, url = start(port, "--model", model_folders["plain"], "--disk", tmp_path, "--warm", "--disk-bits", "8")
        try:
            until(lambda: answers(url), "it answers")  # noqa: B023 - called at once
            found.append(cached(url))
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
            process.communicate()
    assert found[0] == 0
    assert found[1] > 600


def test_a_model_that_cannot_be_served_is_told_in_one_sentence(
    port: int, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folders["plain"], folder)
    os.truncate(folder / "tokenizer.json", 500)  # mlx's own threads run by then, and must not abort the process
    process, _ = start(port, "--model", folder)
    try:
        _, complaint = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 2, complaint
    *log, sentence = complaint.splitlines()
    assert sentence.startswith("mlx-lm cannot load")
    assert len(log) <= 1


async def test_the_proxy_starts_it_and_it_ends_with_its_last_holder(
    model_folders: dict[str, Path], tmp_path: Path
) -> None:
    spec = own_server(model_folders["plain"], EngineOptions(disk=tmp_path / "prefixes", memory_mb=100))
    async with shared_server(spec, run_dir=tmp_path / "run", log_dir=tmp_path / "logs", grace_s=0) as server:
        running = await server.running()
        assert cached(running.url) == 0
        assert ask(running.url, "/metrics")["memory"]["budget_bytes"] == 100_000_000
    until(lambda: not answers(running.url), "it ends")
