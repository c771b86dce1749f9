"""CPU time of calls."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """What a call gave, and its CPU time in milliseconds."""
    began = time.process_time_ns()
    result = function()
    return result, (time.process_time_ns() - began) / 1e6


def cpu_ms(function: Callable[[], object]) -> float:
    return timed(function)[1]


def settled() -> None:
    """Garbage of what came before is not charged to what comes next."""
    gc.collect()
