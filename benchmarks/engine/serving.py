"""Our engine and the stock server on one model, asked the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from anyclaude_lab.engine.keeper import free_port
from anyclaude_lab.engine.mlx_server import mlx_lm_server
from anyclaude_lab.engine.own_server import EngineOptions, own_server
from anyclaude_lab.engine.spec import PORT, ServerSpec

START_S = 120.0
CLIENT = httpx.Client(trust_env=False, timeout=600, verify=False)  # made once: making one takes longer than an answer
TOOLS = [{"type": "function", "function": {"name": "Read", "description": "", "parameters": {"type": "object"}}}]
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of one token: seconds until it was there, and its prompt.

    `progress`: seconds at which a share of the prompt was computed, as it was told.
    """

    seconds: float
    prompt_tokens: int
    cached_tokens: int
    text: str
    progress: tuple[tuple[float, float], ...] = ()

    def behind(self, share: float) -> float:
        """What part of the time went to the prompt's tokens behind `share` of them."""
        return 1 - next(seconds for done, seconds in self.progress if done >= share) / self.seconds

    def done_after(self, share: float) -> float:
        """The share of the prompt that was computed after that share of the time."""
        return max(done for done, seconds in self.progress if seconds <= share * self.seconds)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `ask` measures until the answer's only token has ended it."""

    name: str
    url: str

    def ask(self, messages: Messages, *, tools: bool = True, max_tokens: int = 1) -> Reply:
        began, text = time.perf_counter(), ""
        usage: dict[str, Any] = {}
        progress = []
        with self._stream(messages, tools, max_tokens) as lines:
            for line in lines:
                if share := _share(line):
                    progress.append((share, time.perf_counter() - began))
                chunk = json.loads(line[6:]) if line.startswith("data: {") else {}
                for choice in chunk.get("choices", ()):
                    text += choice["delta"].get("content") or ""
                    if choice.get("finish_reason"):
                        seconds = time.perf_counter() - began
                usage = chunk.get("usage") or usage
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return Reply(seconds, usage["prompt_tokens"], cached, text, tuple(progress))

    def whole(self, **body: Any) -> tuple[float, dict[str, Any]]:
        """Seconds, and the answer to a request that is not streamed."""
        began = time.perf_counter()
        answer = CLIENT.post(f"{self.url}/v1/chat/completions", json=body)
        answer.raise_for_status()
        return time.perf_counter() - began, answer.json()

    def metrics(self) -> dict[str, Any]:
        """Ours only."""
        found: dict[str, Any] = CLIENT.get(f"{self.url}/metrics").json()
        return found

    def settle(self) -> None:
        """Wait until ours has written to disk what it wants to, so that no other measurement shares the machine."""
        while self.name == "ours" and (self.metrics()["disk"] or {}).get("unwritten"):
            time.sleep(0.02)

    def leave_at(self, messages: Messages, share: float) -> None:
        """Ask, and hang up once `share` of the prompt is computed."""
        with self._stream(messages, True, 1) as lines:
            for line in lines:
                if (_share(line) or 0.0) >= share:
                    return

    def begin(self, messages: Messages, when: Callable[[], None]) -> None:
        """Ask, and call `when` once the prompt is being computed; returns with the answer."""
        called = False
        with self._stream(messages, True, 1) as lines:
            for line in lines:
                if line.startswith(": keepalive") and not called:
                    called = True
                    when()

    @contextmanager
    def _stream(self, messages: Messages, tools: bool, max_tokens: int) -> Iterator[Iterator[str]]:
        body: dict[str, Any] = {"model": "default_model", "messages": messages, "max_tokens": max_tokens}
        body |= {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0}
        if tools:
            body["tools"] = TOOLS
        with CLIENT.stream("POST", f"{self.url}/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            yield response.iter_lines()


def _share(line: str) -> float | None:
    """Of the prompt, where a line tells the progress."""
    done, _, total = line.removeprefix(": keepalive ").partition("/")
    return int(done) / int(total) if line.startswith(": keepalive ") and total.isdigit() else None


@contextmanager
def ours(
    model: Path,
    disk: Path | None = None,
    bits: int | None = None,
    *,
    grammar: bool = False,
    warm: bool = False,
    memory_mb: int = 2000,
) -> Iterator[Server]:
    """Our engine; its budget in memory is small beside the machine's, large beside the model's."""
    options = EngineOptions(disk=disk, disk_bits=bits, memory_mb=memory_mb, grammar=grammar, warm=warm)
    with _running(own_server(model, options)) as server:
        yield server


@contextmanager
def stock(model: Path) -> Iterator[Server]:
    """`mlx_lm.server` as we start it: on a CPU in steps of 512 tokens, which are faster there than its own of 2048."""
    with _running(mlx_lm_server(model)) as server:
        yield server


@contextmanager
def _running(spec: ServerSpec) -> Iterator[Server]:
    port = free_port()
    arguments = [str(port) if argument == PORT else argument for argument in spec.arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", spec.program, *arguments],
        env={**os.environ, **dict(spec.environment)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server("ours" if spec.program != "mlx_lm" else "stock", f"http://127.0.0.1:{port}")
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            server.ask([{"role": "user", "content": "Hello"}], tools=False)
            return
        time.sleep(0.1)
    raise RuntimeError(f"{server.name} did not start")
