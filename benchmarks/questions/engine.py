"""How long until the engine's first token, on a cold, a warm and a restarted cache, beside the stock server?

The figures are printed by `python -m benchmarks.engine`, which takes minutes; here it is only called.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.results import Options, Table

FIGURES = ("warm", "restart")


def figures(options: Options) -> Table:
    """A line for each figure, as it was said."""
    line = [sys.executable, "-m", "benchmarks.engine", *FIGURES]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    rows = {f"line {n}": {"said": line} for n, line in enumerate(said.splitlines()) if line.strip()}
    return Table(rows, f"python -m benchmarks.engine {' '.join(FIGURES)}")
