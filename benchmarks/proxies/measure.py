"""Proxies under loads, interleaved: what each costs beside the bare relay of the same round."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.proxies import subjects
from benchmarks.proxies.load import Streamed, volley
from benchmarks.proxies.subjects import Subject

RELAY = "bare relay"
VISITS = 3  # a round
PLAIN = ("--filter-tier", "off", "--adapter", "none", "--no-record")


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests a visit, so many at a time, so many milliseconds between the chunks; in every n-th round."""

    requests: int
    streams: int
    gap_ms: int
    every: int = 1

    def __str__(self) -> str:
        return f"{self.streams} streams, {f'{self.gap_ms} ms gaps' if self.gap_ms else 'unpaced'}"


@dataclass
class Row:
    """What one proxy did under one load: CPU per request round by round, the delays of all chunks."""

    requests: int = 0
    cpu_ms: list[float] = field(default_factory=list)
    ttft_ms: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    rss_mib: float = 0.0

    def extend(self, more: Row) -> None:
        """Take in rounds of another start."""
        self.requests += more.requests
        self.cpu_ms += more.cpu_ms
        self.ttft_ms += more.ttft_ms
        self.delays_ms += more.delays_ms
        self.per_s += more.per_s
        self.rss_mib = max(self.rss_mib, more.rss_mib)

    def ratios(self, other: Row) -> list[float]:
        """CPU beside another's, round by round."""
        return [own / its for own, its in zip(self.cpu_ms, other.cpu_ms, strict=True)]


Measured = dict[Load, dict[str, Row]]


@contextmanager
def running(
    peers: Path | None, names: Collection[str] = (), planted_us: int | None = None, under: Sequence[str] = ()
) -> Iterator[list[Subject]]:
    """The relay, ours in its ways, and the peers where they are installed; with `names` only those and the relay.

    `planted_us`: ours is slowed down by so many microseconds a read. `under`: the program that runs the relay and ours.
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        port = stack.enter_context(subjects.upstream(folder))
        url = f"http://127.0.0.1:{port}"
        ways = (
            ("ours, translating", PLAIN, {"LOCAL_URL": f"{url}/v1"}),
            ("ours, prompt work, recording", ("--record", f"{scratch}/traces"), {"LOCAL_URL": f"{url}/v1"}),
            ("ours, passthrough", ("--mode", "claude", "--no-record"), {"ANYCLAUDE_CLAUDE_URL": url}),
        )
        started = [stack.enter_context(subjects.relay(folder, port, under=under))]
        for name, args, env in ways:
            if not names or name in names:
                own = subjects.ours(folder, name, *args, planted_us=planted_us, under=under, **env)
                started.append(stack.enter_context(own))
        if peers is not None:
            started.append(stack.enter_context(subjects.claude_code_router(folder, port, peers.absolute())))
            started.append(stack.enter_context(subjects.litellm(folder, port, peers.absolute())))
        for subject in started:
            asyncio.run(volley(subject.port, subject.model, requests=20, streams=2, gap_ms=0))
        yield started


def measure_anew(peers: Path | None, loads: Sequence[Load], rounds: int, starts: int) -> Measured:
    """The rounds shared out among so many starts of all programs: where a process lies in memory is luck that stays.

    Without gaps what is quick is visited several times a round: such a visit is short, and a neighbour can spoil it.
    """
    table: Measured = {load: defaultdict(Row) for load in loads}
    for start in range(starts):
        with running(peers) as started:
            share = rounds * (start + 1) // starts - rounds * start // starts
            for load, rows in measure(started, loads, share, seed=start, visits=VISITS).items():
                for name, row in rows.items():
                    table[load][name].extend(row)
    return table


def measure(started: Sequence[Subject], loads: Sequence[Load], rounds: int, seed: int = 1, visits: int = 1) -> Measured:
    """Each round visits every proxy under every load, the quick ones so many times, in an order of its own."""
    shuffled = random.Random(seed)
    table: Measured = {load: defaultdict(Row) for load in loads}
    for number in range(rounds):
        for load in loads:
            if number % load.every == 0:
                times = 1 if load.gap_ms else visits
                calls = [subject for subject in started for _ in range(times if subject.quick else 1)]
                cpu_ms: dict[str, list[float]] = defaultdict(list)
                for subject in shuffled.sample(calls, len(calls)):
                    cpu_ms[subject.name].append(_visit(subject, load, table[load][subject.name]))
                for name, found in cpu_ms.items():
                    table[load][name].cpu_ms.append(statistics.median(found))
    return table


def _visit(subject: Subject, load: Load, row: Row) -> float:
    """CPU ms per request; everything else goes into the row."""
    before_s = subject.cpu_s()
    answers, took_s = asyncio.run(_timed(subject, load))
    cpu_ms = (subject.cpu_s() - before_s) * 1000 / load.requests
    row.requests += load.requests
    row.per_s.append(load.requests / took_s)
    row.ttft_ms += [answer.ttft_s * 1000 for answer in answers]
    row.delays_ms += [delay_s * 1000 for answer in answers for delay_s in answer.delays_s]
    row.rss_mib = max(row.rss_mib, subject.rss_mib())
    return cpu_ms


async def _timed(subject: Subject, load: Load) -> tuple[list[Streamed], float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await volley(
        subject.port, subject.model, requests=load.requests, streams=load.streams, gap_ms=load.gap_ms
    )
    return answers, loop.time() - began


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The middle half; of a single value, that value."""
    if len(values) < 2:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=4)
    return cuts[0], cuts[2]
