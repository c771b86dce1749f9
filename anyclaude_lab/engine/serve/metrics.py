"""The engine's state in numbers, as `/metrics` gives it."""

from __future__ import annotations

from dataclasses import asdict

from anyclaude_lab.engine.serve.prefixes import Rank
from anyclaude_lab.engine.serve.scheduler import Scheduler
from anyclaude_lab.wire.events import JsonObject


def metrics(scheduler: Scheduler) -> JsonObject:
    """Read while the generation thread works: each number is true, all together only nearly of the same moment."""
    store, entries = scheduler.store, list(scheduler.store.index)
    folder = store.folder
    return {
        "requests": scheduler.figures.as_json() | {"running": len(scheduler.jobs)},
        "prefill": {
            "step_tokens": scheduler.runner.pace.step_tokens(),
            "step_limit_s": scheduler.runner.pace.step_s,
            "longest_step_s": scheduler.runner.longest_step_s,
        },
        "memory": {
            "budget_bytes": store.budget_bytes,
            "used_bytes": sum(entry.size_bytes for entry in entries),
            "entries": {rank.name.lower(): sum(entry.rank is rank for entry in entries) for rank in Rank},
            "dropped_for_room": store.index.dropped_for_room,
        },
        "disk": None
        if folder is None
        else {
            "cap_bytes": folder.cap_bytes,
            "used_bytes": folder.size_bytes,
            "prefixes": len(folder),
            "unwritten": store.unwritten,
            "read": store.from_disk,
            "removed_broken": folder.removed_broken,
            "refused": folder.refused,
        },
        "round_trips": asdict(store.round_trips),
    }
