"""What does a proxy cost, in CPU, delay and memory, beside a relay that only passes bytes, and beside its peers?

Unpaced: throughput at 1, 8 and 64 streams. Paced: how late each chunk is. Every ratio is of one round.
"""

from __future__ import annotations

import statistics

from benchmarks.proxies.measure import RELAY, Load, Row, measure, percentile, quartiles, running
from benchmarks.results import Number, Options, Table

LOADS = (
    Load(6, 1, 0),
    Load(16, 8, 0),
    Load(8, 8, 10),
    Load(64, 64, 0, every=3),
    Load(8, 8, 5, every=3),
    Load(8, 8, 20, every=3),
)
ROUNDS = 9


def figures(options: Options) -> Table:
    """`--peers FOLDER` adds claude-code-router and LiteLLM; some 3 minutes without them, 7 with."""
    rounds = options.rounds or ROUNDS
    with running(options.peers) as started:
        table = measure(started, LOADS, rounds)
    rows: dict[str, dict[str, Number]] = {}
    for load, found in table.items():
        for subject in started:
            rows[f"{load}: {subject.name}"] = _row(found[subject.name], found[RELAY], load)
    return Table(
        rows,
        f"{rounds} interleaved rounds (64 streams, 5 and 20 ms: every third); a reply is 200 chunks, a request 58 KB; "
        "plain HTTP on loopback; CPU of the whole process tree per request, median; `/relay`: median of the ratios of "
        "each round, with their quartiles; late: from a chunk's writing to its reading",
    )


def _row(row: Row, relay: Row, load: Load) -> dict[str, Number]:
    ratios = row.ratios(relay)
    low, high = quartiles(ratios)
    return {
        "n": load.requests * len(row.cpu_ms),
        "cpu_ms": statistics.median(row.cpu_ms),
        "/relay": statistics.median(ratios),
        "quartiles": f"{low:.1f}-{high:.1f}",
        "ttft_ms": statistics.median(row.ttft_ms),
        "late_p50_ms": percentile(row.delays_ms, 0.5),
        "late_p99_ms": percentile(row.delays_ms, 0.99),
        "per_s": statistics.median(row.per_s),
        "rss_mib": row.rss_mib,
    }
