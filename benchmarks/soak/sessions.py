"""The real Claude Code, session after session, on a backend that fails at a random step in a random way.

    python -m benchmarks.soak sessions [--count 500] [--seed 1]

A session is complete when every step ran once, its result came back and the file changed as asked.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.soak.result import write
from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.conftest import settings_for
from tests.e2e.proxy_process import proxy_process
from tests.e2e.session import PROMPT, StumblingSession
from tests.e2e.test_faults import CUTS, PATIENCE_S, REFUSALS
from tests.e2e.test_sessions import FOREIGN_MODEL, backend
from tests.standins.http import running

SERVERS = ("openai", "mlx-lm", "llama.cpp", "vllm", "lmstudio", "ollama")


def session(chance: random.Random, folder: Path) -> tuple[str, float]:
    """One faulted session: how it ended, and its seconds."""
    server_name = chance.choice(SERVERS)
    step = chance.randrange(4)
    fault = chance.choice([name for name in (*CUTS, *REFUSALS) if step < 3 or "call" not in name])
    mishaps = [CUTS[fault]] if fault in CUTS else REFUSALS[fault]
    place = Place.fresh(folder)
    work = StumblingSession(place.project, mishaps=list(mishaps), at=step)
    began = time.monotonic()
    with running(backend(server_name, work)) as server:
        with proxy_process(folder / "proxy", ["--mode", "local"], settings_for("local", server)) as proxy:
            result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL, timeout=PATIENCE_S)
            work.check(result)
        assert server.violations == [], server.violations
    assert work.struck == len(mishaps)
    return fault, time.monotonic() - began


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak sessions")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    chance = random.Random(asked.seed)
    done, failed, seconds = Counter[str](), list[str](), list[float]()
    for number in range(asked.count):
        with tempfile.TemporaryDirectory() as folder:
            try:
                fault, took_s = session(chance, Path(folder))
            except AssertionError as error:
                failed.append(f"session {number}: {str(error)[:300]}")
                continue
        done[fault] += 1
        seconds.append(took_s)
    spread = statistics.quantiles(seconds, n=20) if len(seconds) > 1 else []
    taken = {"median": round(statistics.median(seconds), 1), "p95": round(spread[-1], 1)} if spread else None
    write(
        "sessions",
        {
            "client": LATEST,
            "seed": asked.seed,
            "sessions": asked.count,
            "completed": sum(done.values()),
            "by_fault": dict(done.most_common()),
            "failed": failed,
            "seconds": taken,
        },
    )
    return 1 if failed else 0
