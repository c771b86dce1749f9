"""The proxies that are compared, each as processes on loopback with the benchmark's upstream behind them.

The peers are not installed with us: `python -m benchmarks.proxies install FOLDER` makes a folder that holds them, `ccr`
from npm and `litellm` in a virtual environment of its own.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parents[2]
CCR, LITELLM = "@musistudio/claude-code-router@2.0.0", "litellm[proxy]==1.106.2"
START_S = 90.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A running proxy; `model` is what a client names."""

    name: str
    port: int
    pid: int
    model: str = "bench"
    quick: bool = True  # some milliseconds of CPU a reply

    @property
    def processes(self) -> list[psutil.Process]:
        """The process and all below it."""
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds of user and system so far, of the whole tree."""
        return sum(map(_cpu_s, self.processes))

    def rss_mib(self) -> float:
        """Resident memory of the whole tree in MiB."""
        return sum(process.memory_info().rss for process in self.processes) / 2**20


@contextmanager
def process(command: list[str], folder: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program with a home of its own; ended with everything below it."""
    folder.mkdir(parents=True, exist_ok=True)
    clean = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(HERE), **env}
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))
        p = stack.enter_context(subprocess.Popen(command, cwd=folder, env=clean, stdout=log, stderr=log))
        try:
            yield p
        finally:
            with suppress(psutil.NoSuchProcess):
                tree = psutil.Process(p.pid)
                for child in [*tree.children(recursive=True), tree]:
                    child.kill()


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """The port of the backend that all of them have."""
    port_file = folder / "upstream" / "port"
    with process([sys.executable, "-m", "benchmarks.proxies.upstream", str(port_file)], port_file.parent):
        yield int(_written(port_file))


@contextmanager
def relay(folder: Path, upstream_port: int, *, under: Sequence[str] = ()) -> Iterator[Subject]:
    port_file = folder / "relay" / "port"
    command = [*under, sys.executable, "-m", "benchmarks.proxies.relay", str(upstream_port), str(port_file)]
    with process(command, port_file.parent) as p:
        yield Subject("bare relay", int(_written(port_file)), p.pid)


@contextmanager
def ours(
    folder: Path, name: str, *args: str, planted_us: int | None = None, under: Sequence[str] = (), **env: str
) -> Iterator[Subject]:
    """The proxy with these arguments; `under`: the program that runs it, with its own."""
    port = free_port()
    program = ["anyclaude_lab.proxy"] if planted_us is None else ["benchmarks.proxies.slowed", str(planted_us)]
    command = [*under, sys.executable, "-m", *program, "--proxy-only", "--port", str(port), *args]
    with process(command, folder / name.replace(" ", "-"), ANYCLAUDE_PROBE="no", **env) as p:
        _listening(port, p)
        yield Subject(name, port, p.pid)


@contextmanager
def claude_code_router(folder: Path, upstream_port: int, peers: Path) -> Iterator[Subject]:
    home, port = folder / "ccr", free_port()
    provider = {
        "name": "bench",
        "api_base_url": f"http://127.0.0.1:{upstream_port}/v1/chat/completions",
        "api_key": "bench",
        "models": ["bench"],
    }
    config = {
        "PORT": port,
        "HOST": "127.0.0.1",
        "LOG": False,
        "Providers": [provider],
        "Router": {"default": "bench,bench"},
    }
    (home / ".claude-code-router").mkdir(parents=True)
    (home / ".claude-code-router" / "config.json").write_text(json.dumps(config))
    program = peers / "ccr" / "node_modules" / ".bin" / "ccr"
    with process([str(program), "start"], home) as p:
        _listening(port, p)
        yield Subject("claude-code-router 2.0.0", port, p.pid, model="bench,bench")


@contextmanager
def litellm(folder: Path, upstream_port: int, peers: Path) -> Iterator[Subject]:
    home, port = folder / "litellm", free_port()
    home.mkdir(parents=True)
    base = f"http://127.0.0.1:{upstream_port}/v1"
    parameters = {"model": "openai/bench", "api_base": base, "api_key": "bench"}
    models = [{"model_name": "bench", "litellm_params": parameters}]
    # `use_chat_completions_url_for_anthropic_messages`: by default it would ask the responses API instead.
    settings = {"use_chat_completions_url_for_anthropic_messages": True}
    (home / "config.yaml").write_text(json.dumps({"model_list": models, "litellm_settings": settings}))
    program = str(peers / "litellm" / "bin" / "litellm")
    command = [program, "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    unlocked = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with process(command, home, LITELLM_LOG="ERROR", **unlocked) as p:
        _listening(port, p)
        yield Subject("LiteLLM 1.106.2", port, p.pid, quick=False)


def install(folder: Path) -> None:
    """Both peers from npm and PyPI, of the releases named here."""
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder / "ccr"), CCR], check=True)
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--allow-existing", str(folder / "litellm")], check=True)
    subprocess.run([uv, "pip", "install", "--python", str(folder / "litellm" / "bin" / "python"), LITELLM], check=True)


def _cpu_s(process: psutil.Process) -> float:
    """By the process's own CPU clock on Linux, in nanoseconds; the usual counters tick a hundred times a second."""
    if platform.system() == "Linux":
        return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()
    return times.user + times.system


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        return int(reserved.getsockname()[1])


def _written(file: Path) -> str:
    deadline = time.monotonic() + START_S
    while not (file.exists() and (text := file.read_text())):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{file.parent.name} did not start")
        time.sleep(0.05)
    return text


def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} did not start")
