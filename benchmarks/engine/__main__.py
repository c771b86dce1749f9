"""Prints the engine's figures, with the stock server's beside them. Ratios: seconds depend on the machine.

    python -m benchmarks.engine [NAME ...] [--quick] [--pairs N] [--seconds N] [--tokens N ...] [--tools FILE]

Both servers run at once and are asked in turns (ours, stock, stock, ours, ...), each pair with a prompt nobody has
seen, until the 95 % interval of each figure is within 5 % of it, or pairs or time are used up. A figure is the
geometric mean with its interval (Student's t on logarithms). Model: random float32 weights, 2 layers x 128, a token is
a letter; greedy, one token of answer. TTFT here is the time until that token has ended the answer. No grammar but in
`calls`, whose tools are a made-up list of real size, or those of a request in FILE.
"""

from __future__ import annotations

import argparse
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
    parser = argparse.ArgumentParser("python -m benchmarks.engine", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--pairs", type=int, default=60, help="at most")
    parser.add_argument("--seconds", type=float, default=120.0, help="at most, for each figure")
    parser.add_argument("--tokens", type=int, nargs="+", default=[2800, 8000, 17000])
    parser.add_argument("--quick", action="store_true", help="2800 tokens, 5 pairs, 20 calls")
    parser.add_argument("--tools", type=Path, help="a request of the Messages API, for `calls`")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.tokens = 5, [2800]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = write(scratch / "model", shape=Shape(layers=2, width=128, heads=2))
        servers = (stack.enter_context(ours(model)), stack.enter_context(stock(model)))
        bench = Bench(model, servers, options.pairs, options.seconds, options.tokens, scratch)
        known = FIGURES | {"calls": partial(calls, tools_file=options.tools, count=20 if options.quick else CALLS)}
        for name in options.names or names:
            known[name](bench)


if __name__ == "__main__":
    main()
