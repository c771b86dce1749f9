"""CPU time of the whole pipeline on one request: the first of a lane, and the next ones.

Beside it the time to read the request from JSON and write it again, which depends on the machine in the same way.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import orjson

from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.prompt.sections import TextCount
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request
from tests.prompt.live import Recording

PLANS = {
    "stabilised": Plan(),
    "aggressive": Plan(tier="aggressive"),
    "extreme, stubs": Plan(tier="extreme", stub_tools=True),
}
COLD, WARM = 5, 40  # times


def table(recordings: Sequence[Recording], count: TextCount) -> Iterator[str]:
    """The rows, for a terminal. The newest request of each session, some 60 to 100 KB."""
    yield (
        f"{'release':9}{'plan':16}{'KB':>5}{'read+write ms':>15}{'cold ms':>9}{'warm ms':>9}{'(10% - 90%)':>15}"
        f"{'warm / r+w':>12}"
    )
    for recording in recordings:
        raw = orjson.dumps(max((sent.body for sent in recording.of("work")), key=_size))
        yardstick = statistics.median(cpu_ms(partial(_read_and_write, raw)) for _ in range(WARM))
        for name, plan in PLANS.items():
            cold = statistics.median(cpu_ms(partial(run, _unseen(raw, n, name), plan)) for n in range(COLD))
            lane = run(_read(raw), plan)[1]
            requests = [_read(raw) for _ in range(WARM)]  # as they come: none shares an object with another
            warm = [cpu_ms(partial(run, request, plan, lane)) for request in requests]
            middle, deciles = statistics.median(warm), statistics.quantiles(warm, n=10)
            spread = f"({deciles[0]:.2f} - {deciles[-1]:.2f})"
            yield (
                f"{recording.release:9}{name:16}{len(raw) / 1000:5.0f}{yardstick:15.2f}{cold:9.2f}{middle:9.2f}"
                f"{spread:>15}{middle / yardstick:12.1f}"
            )


def cpu_ms(function: Callable[[], object]) -> float:
    """Of one call."""
    began = time.process_time()
    function()
    return (time.process_time() - began) * 1000


def _size(body: JsonObject) -> int:
    return len(orjson.dumps(body))


def _read(raw: bytes) -> Request:
    return Request(orjson.loads(raw))


def _read_and_write(raw: bytes) -> bytes:
    return orjson.dumps(orjson.loads(raw))


def _unseen(raw: bytes, number: int, name: str) -> Request:
    """The request with texts that no memory knows."""
    body = orjson.loads(raw)
    for part, field in [*((block, "text") for block in body["system"]), *((t, "description") for t in body["tools"])]:
        part[field] += f" {name} {number}"
    return Request(body)
