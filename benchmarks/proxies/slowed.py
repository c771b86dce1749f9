"""The proxy with a planted fault: MICROSECONDS more for each read of a stream. The proxy's own arguments follow."""

from __future__ import annotations

import sys
import time
from typing import Any

from anyclaude_lab.backends.connection import Connection
from anyclaude_lab.proxy.__main__ import main


def slow_down(extra_ns: int) -> None:
    """Let whatever arrives from a backend take longer."""
    received = Connection.data_received

    def slower(self: Any, data: bytes) -> None:
        until = time.thread_time_ns() + extra_ns
        while time.thread_time_ns() < until:
            pass
        received(self, data)

    Connection.data_received = slower  # type: ignore[method-assign]  # the planted fault


if __name__ == "__main__":
    slow_down(1000 * int(sys.argv.pop(1)))
    sys.exit(main())
