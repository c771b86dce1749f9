"""The event loop a proxy runs on: uvloop where there is one, which Windows has not."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


COLLECTED_EVERY = 20_000  # objects; an answer of 200 events makes some thousand, freed without being looked for


def spare_the_collector() -> None:
    """For a program that has started: what it has by now stays, and need not be searched for garbage again.

    What outlived one search is searched often all the same, which costs little: few things of a request are left for
    the collector, and with hundreds at once they would otherwise stay for minutes.
    """
    gc.freeze()
    gc.set_threshold(COLLECTED_EVERY, 2, 5)


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on the fastest loop that is installed; everything else is as there."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
