"""Runs a server that ends with its keeper, however the keeper ends.

    python -m anyclaude_lab.engine.tether MODULE|FILE.py [ARGUMENT...]

Standard input is the tether: the keeper holds the other end of the pipe and never writes. The kernel closes it when
the keeper dies, `kill -9` included, on every operating system.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading


def main(argv: list[str]) -> None:
    """Become the server `argv` names, with a thread that waits for the end of standard input."""
    threading.Thread(target=end_with_keeper, name="tether", daemon=True).start()
    sys.argv = argv
    if argv[0].endswith(".py"):
        runpy.run_path(argv[0], run_name="__main__")
    else:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


def end_with_keeper() -> None:
    """Wait for the end of standard input, and end this process."""
    while os.read(0, 1):
        pass
    os._exit(0)  # at once: a server in the middle of a prefill has nobody left to answer


if __name__ == "__main__":
    main(sys.argv[1:])
