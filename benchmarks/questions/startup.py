"""Seconds from starting the proxy to its first answer, of five starts. Budget: 0.6 s on an idle core."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

STARTS = 5
LINE = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0"]


def start() -> tuple[float, float]:
    """One start before a server that is not there: seconds by the clock, and seconds of CPU time."""
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "LOCAL_URL": "http://127.0.0.1:9/v1", "PYTHONPATH": str(Path(__file__).parents[1])}
        began = time.perf_counter()
        with subprocess.Popen(LINE, cwd=home, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            url = re.findall(rb"http://\S+", process.stdout.readline())[0].decode()
            httpx.get(f"{url}/health/live", trust_env=False).raise_for_status()
            clock_s = time.perf_counter() - began
            times = psutil.Process(process.pid).cpu_times()
            process.terminate()
    return clock_s, times.user + times.system


def main() -> None:
    start()  # compiles what is not compiled yet
    clocks_s, cpus_s = zip(*(start() for _ in range(STARTS)), strict=True)
    print(f"start to first answer: median {statistics.median(clocks_s):.2f} s, CPU {statistics.median(cpus_s):.2f} s")


if __name__ == "__main__":
    main()
