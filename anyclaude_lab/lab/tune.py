"""`lab.tune`: the cheapest way of answering that still behaves.

Tiers by stubs by the stabiliser are replayed on the first turns of every session; what is dominated or far below the
constraint there is dropped, the rest is replayed whole. The unfiltered request on the same backend is the reference.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.replay import replay
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.variant import Variant, variant
from anyclaude_lab.wire.events import JsonObject

TIERS = ("off", "minimal", "moderate", "aggressive", "extreme")
FIRST_TURNS = 4
SLACK = 2.0  # in the first round an arm may miss the constraint by twice its margin
Objective = Literal["tokens", "ttft"]
COLUMNS: dict[str, str] = {"tokens": "prompt_tokens_mean", "ttft": "ttft_median_s"}
_CONSTRAINT = re.compile(r"fidelity within (0?\.\d+|0|1) of unfiltered\Z")


def tune(
    traces: Traces,
    *,
    backend: str,
    objective: Objective = "tokens",
    constraint: str = "fidelity within 0.05 of unfiltered",
    tiers: Sequence[str] = TIERS,
    progress: bool = True,
    seed: int = 0,
) -> Run:
    """The run of the arms that were replayed whole; `run.head["tuned"]` has the choice and a config to paste.

    Raises SettingsError for an objective or constraint that is not understood.
    """
    if objective not in COLUMNS:
        raise SettingsError(f'"{objective}" is no objective; there are: {", ".join(COLUMNS)}.')
    margin = _margin(constraint)
    arms = _arms(backend, tiers)
    first = replay(traces, arms, progress=progress, seed=seed, turns_per_session=FIRST_TURNS)
    kept = _kept(first, arms, margin * SLACK, COLUMNS[objective])
    run = replay(traces, kept, progress=progress, seed=seed)
    run.head["tuned"] = _choice(run, kept, margin, objective)
    run.head["tuned"] |= {"constraint": constraint, "dropped": [arm.name for arm in arms if arm not in kept]}
    return run


def snippet(chosen: Variant) -> JsonObject:
    """What to write into `.anyclauderc.json` for it."""
    names = {"embedded": "local", "mlx": "local", "scripted": "local"}
    mode = names.get(chosen.kind, chosen.kind)
    shown: JsonObject = {"filterTier": chosen.tier, "stubToolDescriptions": chosen.stub_tools}
    return {"backend": mode, "backends": {mode: shown | {"adapter": chosen.adapter}}}


def _arms(backend: str, tiers: Sequence[str]) -> list[Variant]:
    """The reference first."""
    made = [variant("unfiltered", backend=backend, strip_billing=False, stabilise=False)]
    for tier, stubs in itertools.product(tiers, (False, True)):
        name = f"tier {tier}{', stubs' if stubs else ''}"
        made.append(variant(name, backend=backend, tier=tier, stub_tools=stubs))
    return made


def _kept(run: Run, arms: Sequence[Variant], margin: float, column: str) -> list[Variant]:
    """The reference, and the arms worth a whole replay: near enough, and of equal figures only the first."""
    rows = {row["variant"]: row for row in run.summary().to_dict("records")}
    reference = rows[arms[0].name]
    kept, seen = [arms[0]], set[Any]()
    for arm in arms[1:]:
        row = rows[arm.name]
        figures = (row["prompt_tokens_mean"], row["fidelity"])
        if figures in seen or not _within(row, reference, margin) or _worse(row, reference, column):
            continue
        seen.add(figures)
        kept.append(arm)
    return kept


def _choice(run: Run, arms: Sequence[Variant], margin: float, objective: Objective) -> JsonObject:
    """The best arm within the constraint; the reference where none is better."""
    rows = {row["variant"]: row for row in run.summary().to_dict("records")}
    reference, column = rows[arms[0].name], COLUMNS[objective]
    near = [arm for arm in arms if _within(rows[arm.name], reference, margin)]
    allowed = [arm for arm in near if not pd.isna(rows[arm.name][column])]
    best = min(allowed, key=lambda arm: float(rows[arm.name][column]), default=arms[0])
    told = {"variant": best.name, "objective": objective, "config": snippet(best)}
    return told | {"insufficient": bool(rows[best.name]["insufficient"]), "verdict": str(rows[best.name]["verdict"])}


def _within(row: Any, reference: Any, margin: float) -> bool:
    if pd.isna(reference["fidelity"]):
        return True
    return not pd.isna(row["fidelity"]) and float(row["fidelity"]) >= float(reference["fidelity"]) - margin


def _worse(row: Any, reference: Any, column: str) -> bool:
    known = not pd.isna(row[column]) and not pd.isna(reference[column])
    return known and float(row[column]) > 1.1 * float(reference[column])


def _margin(constraint: str) -> float:
    match = _CONSTRAINT.match(constraint.strip())
    if match is None:
        raise SettingsError(f'"{constraint}" is no constraint; write "fidelity within 0.05 of unfiltered".')
    return float(match[1])
