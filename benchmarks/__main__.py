"""Run the benchmarks that take a minute or less, each a module with a `main()`."""

from __future__ import annotations

import importlib
import sys

NAMES = ("startup",)

for name in sys.argv[1:] or NAMES:
    importlib.import_module(f"benchmarks.{name}").main()
