"""`python -m tests.fuzz [--minutes 1] [--seed N] [--out FILE]`: damaged input for every target, in turns.

Ends with code 1 at the first defect, which it prints with the input that shows it; `--keep` puts that input there.
Input of up to 64 KiB that takes more than a second is a defect too: work has to grow with the input, not its square.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.damage import damaged
from tests.fuzz.targets import TARGETS, Target

SLOW_S = 1.0
BATCH = 20


class Defect(Exception):
    """An input that a target does not bear."""

    def __init__(self, target: Target, data: bytes, why: str) -> None:
        super().__init__(f"{target.name}: {why}\n{data[:2000]!r}")
        self.data = data


def batch(target: Target, chance: random.Random, count: int = BATCH, slow_s: float = SLOW_S) -> float:
    """So many damaged inputs; the seconds of the slowest. Raises `Defect`."""
    slowest = 0.0
    for _ in range(count):
        data, order = damaged(target.seeds, chance), chance.getrandbits(32)
        began = time.thread_time()
        try:
            target.run(data, random.Random(order))
        except Exception as error:
            raise Defect(target, data, f"{type(error).__name__}: {str(error)[:300]}") from error
        slowest = max(slowest, time.thread_time() - began)
        if slowest > slow_s:
            raise Defect(target, data, f"took {slowest:.1f} s")
    return slowest


def fuzz(seconds: float, seed: int) -> dict[str, Any]:
    """Every target in turns, for so long; the figures. Raises `Defect`."""
    importlib.import_module("jsonschema")  # what is imported late is not the work of an input
    for target in TARGETS:
        batch(target, random.Random(seed), slow_s=math.inf)
    chance, until = random.Random(seed), time.monotonic() + seconds
    tried, slowest = Counter[str](), dict.fromkeys((target.name for target in TARGETS), 0.0)
    while time.monotonic() < until:
        for target in TARGETS:
            count = BATCH * target.share
            slowest[target.name] = max(slowest[target.name], batch(target, chance, count))
            tried[target.name] += count
    return {
        "seed": seed,
        "seconds": round(seconds),
        "inputs": sum(tried.values()),
        "by_target": dict(tried),
        "defects": 0,
        "slowest_ms": {name: round(s * 1000, 1) for name, s in slowest.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", action="store_true", help="write the figures to benchmarks/soak/results/fuzz.json")
    asked = parser.parse_args()
    try:
        figures = fuzz(asked.minutes * 60, asked.seed)
    except Defect as defect:
        print(f"seed {asked.seed}: {defect}", file=sys.stderr)
        if asked.keep:
            asked.keep.write_bytes(defect.data)
        return 1
    if asked.out:
        from benchmarks.soak.result import write

        write("fuzz", figures)
    else:
        print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
