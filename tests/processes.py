"""Waiting for other processes: until something is so, until one is gone."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

DEADLINE_S = 180.0


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Look again and again; fails, saying `what` was waited for, when it is not so in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether that process has ended, collected by its parent or not."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
