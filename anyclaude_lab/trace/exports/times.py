"""When an exchange began and ended, in seconds since 1970."""

from __future__ import annotations

from datetime import datetime

from anyclaude_lab.trace.read import Recorded, Trace


def started(trace: Trace, exchange: Recorded) -> float:
    """By the writer's clock where it is known (to a fraction), else the wall clock of the line, which is at the end."""
    origin = trace.origins[exchange.writer] if trace.origins else {}
    epoch = origin.get("at")
    if origin.get("source") == "proxy" and isinstance(epoch, str):
        return _seconds(epoch) + float(exchange.data["started_s"])
    return _seconds(exchange.data["at"])


def duration_s(exchange: Recorded) -> float | None:
    """Until the last piece of the answer; None where nobody knows."""
    offsets = [offset_s for offset_s, _ in exchange.pieces if offset_s is not None]
    return max(offsets) if offsets else None


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
