"""How fast are sessions written and loaded into tables?

`python -m benchmarks.lab.load 1000` asks the same of a thousand sessions, and how much memory they take.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import anyclaude_lab as lab
from benchmarks.lab.load import TURNS, session
from benchmarks.results import Options, Table

SESSIONS = 20


def figures(options: Options) -> Table:
    """Sessions of 100 requests of tool calls, their history growing."""
    lab.load  # noqa: B018  # imports pandas, which is not asked about
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        for number in range(SESSIONS):
            Path(folder, f"{number:05}.jsonl").write_bytes(session(number))
        wrote_s = time.process_time() - began
        size_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        began = time.process_time()
        traces = lab.load(folder)
        turns = len(traces.turns)
        loaded_s = time.process_time() - began
    assert turns == SESSIONS * TURNS
    rows = {
        "write": {"requests_per_s": round(turns / wrote_s), "mb_per_s": size_mb / wrote_s},
        "load": {"requests_per_s": round(turns / loaded_s), "mb_per_s": size_mb / loaded_s},
    }
    return Table(rows, f"CPU time; n = {SESSIONS} sessions of {TURNS} requests, {size_mb:.0f} MB; nothing to redact")
