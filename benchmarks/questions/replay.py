"""How many requests a second does a replay ask, where the backend answers at once what was recorded?"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import anyclaude_lab as lab
from benchmarks.results import Options, Table

TRACES = Path(__file__).parents[2] / "traces"
TIERS, TIMES = ("off", "aggressive", "extreme"), 3


def figures(options: Options) -> Table:
    """The bundled sessions, over variants."""
    traces = lab.load(TRACES)
    variants = [lab.variant(tier, backend="scripted", tier=tier) for tier in TIERS]
    lab.replay(traces, variants[:1], progress=False)  # reads the tokenizer
    per_s = []
    for _ in range(TIMES):
        began = time.process_time()
        turns = len(lab.replay(traces, variants, progress=False).turns)
        per_s.append(turns / (time.process_time() - began))
    row = {"requests_per_s": statistics.median(per_s), "least": min(per_s), "most": max(per_s)}
    return Table({"scripted": row}, f"CPU time; n = {TIMES} replays of {turns} requests, tables included")
