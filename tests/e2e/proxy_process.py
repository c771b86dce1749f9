"""The proxy as a user starts it: a process of its own, found by the line it prints."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.e2e.claude_code import scrubbed
from tests.standins import grammar
from tests.standins.http import running
from tests.standins.tap import Passed, Tap

DEADLINE_S = 60
LISTENING = re.compile(r"listening on (http://\S+)")
VIOLATIONS = re.compile(r"^anyclaude_sse_grammar_violations_total(?:\{[^}]*\})? (\S+)", re.MULTILINE)


@dataclass(slots=True)
class Proxy:
    """A running proxy. `url` is where clients go: a tap before the proxy, which keeps what passes."""

    direct_url: str
    tap: Tap
    process: subprocess.Popen[bytes]
    home: Path
    output: Path
    foreign_ends: bool = field(default=False)
    """Set by tests whose backend breaks the grammar itself and is relayed unchanged."""

    @property
    def url(self) -> str:
        return self.tap.url

    @property
    def messages(self) -> list[Passed]:
        """What clients asked of `/v1/messages` and what they got."""
        return [p for p in self.tap.passed if p.method == "POST" and p.target.split("?")[0] == "/v1/messages"]

    def metrics(self) -> str:
        """The metrics in Prometheus' text format."""
        return httpx.get(f"{self.direct_url}/v1/metrics?format=prometheus", timeout=DEADLINE_S).text

    def check_streams(self) -> None:
        """Assert that every stream that reached a client was legal: by an independent judge and by the proxy's own."""
        for passed in self.messages:
            if passed.is_stream and passed.status == 200:
                assert grammar.violations(passed.body) == [], passed.body.decode(errors="replace")[-2000:]
        counted = VIOLATIONS.findall(self.metrics())
        assert counted, "the proxy does not count violations of the stream grammar"
        assert sum(map(float, counted)) == 0


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    return {
        **scrubbed(),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "ANYCLAUDE_PROBE": "no",
        **extra,
    }


@contextmanager
def proxy_process(home: Path, args: Sequence[str], env: Mapping[str, str]) -> Iterator[Proxy]:
    """Start the proxy on a free port; on the way out check its streams and that it ends when told to."""
    home.mkdir(parents=True, exist_ok=True)
    output = home / "proxy-output.txt"
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0", *args]
    with output.open("wb") as out:
        process = subprocess.Popen(
            line, cwd=home, env=environment(home, env), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        with running(Tap(_listening(process, output))) as tap:
            proxy = Proxy(f"http://{tap.upstream[0]}:{tap.upstream[1]}", tap, process, home, output)
            try:
                yield proxy
            except BaseException as error:
                error.add_note(f"the proxy printed:\n{output.read_text(errors='replace')[-6000:]}")
                raise
            assert process.poll() is None, f"the proxy ended by itself:\n{output.read_text(errors='replace')[-6000:]}"
            if not proxy.foreign_ends:
                proxy.check_streams()
        process.send_signal(signal.SIGTERM)
        code = process.wait(DEADLINE_S)
        assert code in (0, -signal.SIGTERM), f"exit code {code}:\n{output.read_text(errors='replace')[-3000:]}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _listening(process: subprocess.Popen[bytes], output: Path) -> str:
    until = time.monotonic() + DEADLINE_S
    while True:
        printed = output.read_text(errors="replace")
        if found := LISTENING.search(printed):
            return found[1]
        if process.poll() is not None:
            raise AssertionError(f"the proxy ended with code {process.returncode} at its start:\n{printed}")
        if time.monotonic() > until:
            raise AssertionError(f"the proxy did not say where it listens:\n{printed}")
        time.sleep(0.02)
