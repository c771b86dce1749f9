"""Prints what our proxy, a bare relay and (with --peers FOLDER) the peers cost; `install FOLDER` installs the peers."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.proxies import subjects
from benchmarks.proxies.load import volley
from benchmarks.proxies.subjects import Subject


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests a round, so many at a time, so many milliseconds between the chunks of each."""

    requests: int
    streams: int
    gap_ms: int

    def __str__(self) -> str:
        pace = f"{self.gap_ms} ms apart" if self.gap_ms else "as fast as they come"
        return f"{self.streams} streams at a time, chunks {pace}"


LOADS = (Load(20, 1, 0), Load(40, 8, 0), Load(16, 8, 10))


@dataclass
class Row:
    """What one proxy did under one load, round by round."""

    cpu_ms: list[float] = field(default_factory=list)
    ttft_ms: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    rss_mib: float = 0.0


def measure(running: list[Subject], loads: tuple[Load, ...], rounds: int, seed: int) -> dict[Load, dict[str, Row]]:
    """Every proxy under every load, interleaved: each round visits all of them in an order of its own."""
    shuffled = random.Random(seed)
    table: dict[Load, dict[str, Row]] = {load: defaultdict(Row) for load in loads}
    for subject in running:
        asyncio.run(volley(subject.port, subject.model, requests=10, streams=2, gap_ms=0))
    for _ in range(rounds):
        for load in loads:
            for subject in shuffled.sample(running, len(running)):
                before_s = subject.cpu_s()
                answers = asyncio.run(
                    volley(
                        subject.port, subject.model, requests=load.requests, streams=load.streams, gap_ms=load.gap_ms
                    )
                )
                row = table[load][subject.name]
                row.cpu_ms.append((subject.cpu_s() - before_s) * 1000 / load.requests)
                row.ttft_ms += [answer.ttft_s * 1000 for answer in answers]
                row.delays_ms += [delay_s * 1000 for answer in answers for delay_s in answer.delays_s]
                row.rss_mib = subject.rss_mib()
    return table


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(table: dict[Load, dict[str, Row]]) -> None:
    for load, rows in table.items():
        relay = statistics.median(rows["bare relay"].cpu_ms)
        requests = load.requests * len(rows["bare relay"].cpu_ms)
        print(f"\n{load}; n = {requests} requests each, CPU of the whole process tree per request")
        head = f"{'CPU ms':>8}{'min-max':>14}{'/relay':>8}{'TTFT ms':>9}{'late ms':>9}{'p99':>8}{'RSS MiB':>9}"
        print(f"{'proxy':30}{head}")
        for name, row in rows.items():
            cpu = statistics.median(row.cpu_ms)
            spread = f"{min(row.cpu_ms):.1f}-{max(row.cpu_ms):.1f}"
            late = f"{percentile(row.delays_ms, 0.5):9.2f}{percentile(row.delays_ms, 0.99):8.2f}"
            ttft = statistics.median(row.ttft_ms)
            print(f"{name:30}{cpu:8.2f}{spread:>14}{cpu / relay:8.1f}{ttft:9.1f}{late}{row.rss_mib:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxies", description=__doc__)
    parser.add_argument("--peers", type=Path, help="the folder made by `install`")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the medians to this file")
    parser.add_argument("install", nargs="*", metavar="install FOLDER", help="install the peers there")
    options = parser.parse_args()
    if options.install:
        subjects.install(Path(options.install[-1]).absolute())
        return
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        port = stack.enter_context(subjects.upstream(folder))
        running = [stack.enter_context(subjects.relay(folder, port))]
        translate = {"LOCAL_URL": f"http://127.0.0.1:{port}/v1"}
        plain = ("--filter-tier", "off", "--adapter", "none", "--no-record")
        for name, args, env in (
            ("ours, translating", plain, translate),
            ("ours, prompt work, recording", ("--record", scratch + "/traces"), translate),
            (
                "ours, passthrough",
                ("--mode", "claude", "--no-record"),
                {"ANYCLAUDE_CLAUDE_URL": f"http://127.0.0.1:{port}"},
            ),
        ):
            running.append(stack.enter_context(subjects.ours(folder, port, name, *args, **env)))
        if options.peers:
            peers = options.peers.absolute()
            running.append(stack.enter_context(subjects.claude_code_router(folder, port, peers)))
            running.append(stack.enter_context(subjects.litellm(folder, port, peers)))
        began = time.monotonic()
        table = measure(running, LOADS, options.rounds, options.seed)
    show(table)
    print(f"\n{options.rounds} interleaved rounds in {time.monotonic() - began:.0f} s, seed {options.seed}")
    if options.json:
        medians = {
            str(load): {name: {"cpu_ms": statistics.median(row.cpu_ms)} for name, row in rows.items()}
            for load, rows in table.items()
        }
        options.json.write_text(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
