"""`python -m benchmarks.proxies install FOLDER`: the peers for `python -m benchmarks proxy_cost --peers FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.proxies.subjects import install

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "install":
        sys.exit(f"usage: {__doc__}")
    install(Path(sys.argv[2]).absolute())
