"""Ends Claude Code when its launcher dies without a chance to do it.

    python guard.py PID

The launcher holds the other end of standard input. The kernel closes it when the launcher dies, `kill -9` included, on
every operating system; a launcher that lives to see the end of Claude Code ends the guard instead. A script of its own,
so that it needs nothing but psutil.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import psutil

END_GRACE_S = 5.0


def main(argv: list[str]) -> None:
    """Wait for the launcher's death, then end the process `argv` names."""
    with suppress(psutil.Error):
        child = psutil.Process(int(argv[0]))  # remembers its start time: a later process with this pid is safe
        while os.read(0, 1):
            pass
        child.terminate()
        try:
            child.wait(END_GRACE_S)
        except psutil.TimeoutExpired:
            child.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
