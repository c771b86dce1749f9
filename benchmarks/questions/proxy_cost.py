"""What does a proxy cost, in CPU, delay and memory, beside a relay that only passes bytes, and beside its peers?

Unpaced: throughput at 1, 8 and 64 streams. Paced: how late each chunk is. Every ratio is of one round.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.proxies.measure import RELAY, VISITS, Load, Row, measure_anew, percentile, quartiles
from benchmarks.results import Number, Options, Table, machine

README = Path(__file__).parents[2] / "README.md"
MARK = "<!-- python -m benchmarks proxy_cost --peers FOLDER --keep -->"
UNPACED, TOGETHER, PACED = Load(6, 1, 0), Load(16, 8, 0), Load(8, 8, 10)
LOADS = (
    UNPACED,
    TOGETHER,
    PACED,
    Load(64, 64, 0, every=3),
    Load(8, 8, 5, every=3),
    Load(8, 8, 20, every=3),
)
ROUNDS, STARTS = 6, 3
OURS = "ours, translating"


def figures(options: Options) -> Table:
    """`--peers FOLDER` adds claude-code-router and LiteLLM; some 3 minutes without them, 6 with."""
    rounds = options.rounds or ROUNDS
    table = measure_anew(options.peers, LOADS, rounds, min(rounds, STARTS))
    rows = {
        f"{load}: {name}": _row(row, found[RELAY], found[OURS])
        for load, found in table.items()
        for name, row in sorted(found.items(), key=lambda item: statistics.median(item[1].cpu_ms))
    }
    return Table(
        rows,
        f"{rounds} interleaved rounds (64 streams, 5 and 20 ms: every third), shared out among {min(rounds, STARTS)} "
        f"starts of all programs, without gaps each the median of {VISITS} visits (LiteLLM: one); a reply is 200 "
        "chunks, a request 58 KB; plain HTTP on loopback; CPU of the whole process tree per request, median; `/relay` "
        "and `/ours`: median of the ratios of each round, of the first with their quartiles; late: from a chunk's "
        "writing to its reading",
        {"rounds": rounds},
    )


def publish(table: Table, kept: Path) -> None:
    """Put the three loads that say most into the README, between its marks."""
    lines = [
        "| a reply of 200 chunks | CPU, one stream | CPU, 8 streams | CPU, 8 streams, 10 ms apart "
        "| delay of a chunk, median / p99 | first token | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    shown = (UNPACED, TOGETHER, PACED)
    for name in [label.partition(": ")[2] for label in table.rows if label.startswith(f"{UNPACED}: ")]:
        rows = [table.rows[f"{load}: {name}"] for load in shown]
        cpu = [f"{row['cpu_ms']:.1f} ms, {row['/relay']:.1f}x ({row['quartiles']})" for row in rows]
        slow = rows[-1]
        lines.append(
            f"| {name} | {' | '.join(cpu)} "
            f"| {slow['late_p50_ms']:.1f} / {slow['late_p99_ms']:.1f} ms "
            f"| {slow['ttft_ms']:.0f} ms | {slow['rss_mib']:.0f} MiB |"
        )
    n = [table.rows[f"{load}: {RELAY}"]["n"] for load in shown]
    where = machine()
    lines += ["", *_beside_ours(table)]
    lines.append(
        f"\n{table.facts['rounds']} rounds, n = {n[0]}, {n[1]} and {n[2]} replies each, {kept.name[:10]}; "
        f"{where['cores']} cores, load {where['load']}."
    )
    text = README.read_text("utf-8")
    before, rest = text.split(MARK, 1)
    README.write_text(before + MARK + "\n" + "\n".join(lines) + "\n" + MARK + rest.split(MARK, 1)[1], "utf-8")


def _beside_ours(table: Table) -> list[str]:
    """A sentence for each peer: how many times our CPU it takes, by load."""
    loads = dict.fromkeys(label.partition(": ")[0] for label in table.rows)
    peers = dict.fromkeys(label.partition(": ")[2] for label in table.rows)
    found = {peer: [(load, table.rows[f"{load}: {peer}"]["/ours"]) for load in loads] for peer in peers}
    return [
        f"{peer}, times the CPU of ours, translating: {', '.join(f'{times:.1f} ({load})' for load, times in ratios)}."
        for peer, ratios in found.items()
        if peer != RELAY and not peer.startswith("ours")
    ]


def _row(row: Row, relay: Row, ours: Row) -> dict[str, Number]:
    ratios = row.ratios(relay)
    low, high = quartiles(ratios)
    return {
        "n": row.requests,
        "cpu_ms": statistics.median(row.cpu_ms),
        "/relay": statistics.median(ratios),
        "quartiles": f"{low:.1f}-{high:.1f}",
        "/ours": statistics.median(row.ratios(ours)),
        "ttft_ms": statistics.median(row.ttft_ms),
        "late_p50_ms": percentile(row.delays_ms, 0.5),
        "late_p99_ms": percentile(row.delays_ms, 0.99),
        "per_s": statistics.median(row.per_s),
        "rss_mib": row.rss_mib,
    }
