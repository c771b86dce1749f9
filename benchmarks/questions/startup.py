"""How long does the proxy take from its start to answering /health/live? Budget: 0.6 s on an idle core."""

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

from benchmarks.results import Options, Table

STARTS = 5
LINE = [sys.executable, "-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0"]


def start() -> tuple[float, float]:
    """One start before a server that is not there: seconds by the clock, and seconds of CPU time."""
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "LOCAL_URL": "http://127.0.0.1:9/v1", "PYTHONPATH": str(Path(__file__).parents[2])}
        began = time.perf_counter()
        with subprocess.Popen(LINE, cwd=home, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            url = re.findall(rb"http://\S+", process.stdout.readline())[0].decode()
            httpx.get(f"{url}/health/live", trust_env=False).raise_for_status()
            clock_s = time.perf_counter() - began
            times = psutil.Process(process.pid).cpu_times()
            process.terminate()
    return clock_s, times.user + times.system


def figures(options: Options) -> Table:
    """Nothing is asked of the backend, which is not there."""
    start()  # compiles what is not compiled yet
    clocks_s, cpus_s = zip(*(start() for _ in range(STARTS)), strict=True)
    row = {
        "median_s": statistics.median(clocks_s),
        "least_s": min(clocks_s),
        "most_s": max(clocks_s),
        "cpu_s": statistics.median(cpus_s),
    }
    return Table({"start to first answer": row}, f"n = {STARTS} starts; cpu_s is the median CPU time until then")
