"""`python -m benchmarks.soak streams|cluster|sessions [options]`."""

from __future__ import annotations

import importlib
import sys

PARTS = ("streams", "cluster", "sessions")

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        sys.exit(f"usage: python -m benchmarks.soak {'|'.join(PARTS)} [options]")
    sys.exit(importlib.import_module(f"benchmarks.soak.{sys.argv[1]}").main(sys.argv[2:]))
