"""Prints the engine's figures, with the stock server's beside them. Ratios: seconds depend on the machine.

    python -m benchmarks.engine [NAME ...] [--quick] [--pairs N] [--seconds N] [--tokens N ...] [--release R] [--keep]

Both servers run at once and are asked in turns (ours, stock, stock, ours, ...), each pair with a prompt nobody has
seen, until the 95 % interval of each figure is within 5 % of it, or pairs or time are used up. A figure is the
geometric mean with its interval (Student's t on logarithms). Model: random float32 weights, 2 layers x 128, a token is
a letter; greedy, one token of answer. TTFT here is the time until that token has ended the answer. Ours writes heads
to disk, as where a proxy starts it, and is given the time for it between two questions. No grammar but in `calls`,
whose tools are a made-up list of real size, or those of a release of the real client. `--keep` writes a file for each
NAME to benchmarks/results.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.engine import figures
from benchmarks.engine.calls import CALLS, calls
from benchmarks.engine.measure import Bench
from benchmarks.engine.random_model import Shape, write
from benchmarks.engine.sameness import drift, same
from benchmarks.engine.serving import ours, stock
from benchmarks.results import Table, keep

FIGURES: dict[str, Callable[[Bench], None]] = {
    "warm": figures.warm,
    "nonce": figures.nonce,
    "project": figures.project,
    "restart": figures.restart,
    "side": figures.side,
    "retry": figures.retry,
    "crowd": figures.crowd,
    "parallel": figures.parallel,
    "drift": drift,
    "same": same,
}


def main() -> None:
    """Measure what was named, or everything."""
    names = [*FIGURES, "calls"]
    options = arguments(names)
    if options.quick:
        options.pairs, options.tokens = 5, [2800]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = write(scratch / "model", shape=Shape(layers=2, width=128, heads=2))
        servers = (stack.enter_context(ours(model, scratch / "disk")), stack.enter_context(stock(model)))
        bench = Bench(model, servers, options.pairs, options.seconds, options.tokens, scratch)
        known = FIGURES | {"calls": partial(calls, release=options.release, count=options.calls)}
        for name in options.names or names:
            bench.rows.clear()
            known[name](bench)
            if options.keep:
                kept(name, bench)


def arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.engine", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--pairs", type=int, default=60, help="at most")
    parser.add_argument("--seconds", type=float, default=120.0, help="at most, for each figure")
    parser.add_argument("--tokens", type=int, nargs="+", default=[2800, 8000, 17000])
    parser.add_argument("--quick", action="store_true", help="2800 tokens, 5 pairs")
    parser.add_argument("--release", help="of the real client, whose tools are called: recorded first, for `calls`")
    parser.add_argument("--calls", type=int, default=CALLS, help=f"how many (default: {CALLS})")
    parser.add_argument("--keep", action="store_true", help="write the figures to benchmarks/results")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


def kept(name: str, bench: Bench) -> None:
    """`results/DATE-engine-NAME.json`."""
    words = [Path(word).name for word in sys.argv[1:] if word != "--keep"]
    command = " ".join(["python -m benchmarks.engine", *words])
    how = "random float32 model, 2 layers x 128 (`same`: the demonstration model); geometric means, 95 % intervals"
    keep(f"engine-{name}", (FIGURES.get(name) or calls).__doc__ or "", Table(bench.rows, how, {"command": command}))


if __name__ == "__main__":
    main()
