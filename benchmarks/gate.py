"""Fails where the proxy costs more CPU beside the bare relay than it may: `python -m benchmarks gate`, under a minute.

Both are measured in the same rounds, so that a slow or busy machine slows both; what counts is the median of the
rounds' ratios. A limit is some 1.4 times what was measured when it was set, and has to be broken twice. `--planted US`
runs a proxy that is slowed down by so many microseconds a read, to see the gate fail.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

from benchmarks.proxies.measure import RELAY, Load, Measured, measure, running

UNPACED, PACED = Load(4, 1, 0), Load(8, 8, 4)
LIMITS = {
    ("ours, translating", UNPACED): 4.8,
    ("ours, translating", PACED): 2.8,
    ("ours, passthrough", UNPACED): 3.2,
    ("ours, passthrough", PACED): 2.0,
}
ROUNDS = 9


def broken(found: Measured) -> list[str]:
    """A line for each measure; those over their limit are the result."""
    over = []
    for (way, load), limit in LIMITS.items():
        rows = found[load]
        ratio = statistics.median(rows[way].ratios(rows[RELAY]))
        line = f"{way}, {load}: {ratio:.2f} x the relay's CPU (at most {limit}; n = {ROUNDS} rounds)"
        print(("OVER  " if ratio > limit else "ok    ") + line, flush=True)
        over += [line] if ratio > limit else []
    return over


def main(arguments: Sequence[str]) -> int:
    """0 within the limits, 1 where one was broken twice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate", description=__doc__)
    parser.add_argument("--planted", type=int, metavar="US", help="slow the proxy down by so many microseconds a read")
    options = parser.parse_args(arguments)
    with running(None, {way for way, _ in LIMITS}, planted_us=options.planted) as started:
        for _ in range(2):
            if not broken(measure(started, (UNPACED, PACED), ROUNDS)):
                return 0
    print("The proxy has become slower: benchmarks/NOTES.md says where its time went, and how to look again.")
    return 1
