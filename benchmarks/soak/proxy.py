"""The proxy as a process of its own, and what it holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
NO_BREAKER = '{"circuitBreaker": {"enabled": false}}'


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at one moment."""

    resident_bytes: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    process: psutil.Process

    def held(self) -> Held:
        with self.process.oneshot():
            return Held(self.process.memory_info().rss, self.process.num_fds(), self.process.num_threads())


@contextmanager
def proxy(env: Mapping[str, str], *args: str) -> Iterator[Running]:
    """Start it with this environment alone; no circuit breaker, so that every fault reaches its client."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, ".anyclauderc.json").write_text(NO_BREAKER)
        line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0", *args]
        given = {"HOME": home, "PYTHONPATH": str(ROOT), "ANYCLAUDE_PROBE": "no", **env}
        with subprocess.Popen(line, cwd=home, env=given, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            url = re.findall(rb"listening on (http://\S+)", process.stdout.readline())[0].decode()
            try:
                yield Running(url, psutil.Process(process.pid))
            finally:
                process.terminate()
