"""`python -m benchmarks [NAME ...] [--peers FOLDER] [--rounds N] [--keep]`: asks the questions, without a name those
that take a minute or less; `--keep` writes the answers to benchmarks/results."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.results import Options, keep, show

USUAL = ("startup", "pipeline", "counting", "traces", "replay", "growth", "proxy_cost")
LONGER = ("instructions", "first_answer")  # minutes, and they need more than the package


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(USUAL)}; {', '.join(LONGER)}; gate")
    parser.add_argument("--peers", type=Path, help="what `python -m benchmarks.proxies install FOLDER` made")
    parser.add_argument("--rounds", type=int, help="of proxy_cost")
    parser.add_argument("--keep", action="store_true", help="write the answers to benchmarks/results")
    if sys.argv[1:2] == ["gate"]:
        return int(importlib.import_module("benchmarks.gate").main(sys.argv[2:]))
    options = parser.parse_args()
    if unknown := set(options.names) - {*USUAL, *LONGER}:
        parser.error(f"there is no question {', '.join(sorted(unknown))}; there are {', '.join((*USUAL, *LONGER))}")
    for name in options.names or USUAL:
        module = importlib.import_module(f"benchmarks.questions.{name}")
        question = (module.__doc__ or "").splitlines()[0]
        table = module.figures(Options(options.peers, options.rounds))
        show(name, question, table)
        if options.keep:
            path = keep(name, question, table)
            if hasattr(module, "publish"):
                module.publish(table, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
