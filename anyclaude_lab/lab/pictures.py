"""The charts of a run, drawn by `views.charts`: for the report, for reprs and for widgets."""

from __future__ import annotations

from typing import Any

import pandas as pd

from anyclaude_lab.lab.breakdown import SECTIONS
from anyclaude_lab.lab.frames import CATEGORIES
from anyclaude_lab.lab.run import Run
from anyclaude_lab.views.charts import (
    Bar,
    Dot,
    Group,
    Lane,
    Point,
    Reuse,
    Turn,
    axis,
    scatter,
    strips,
    timeline,
    waterfall,
)
from anyclaude_lab.views.html import Html
from anyclaude_lab.views.requests import Split

Row = dict[str, Any]
_GROUP = {
    "1": "first turn",
    "2-5": "turns 2 to 5",
    "6-20": "turns 6 to 20",
    "21-50": "turns 21 to 50",
    ">50": "later turns",
}


def fidelity_ladder(run: Run) -> Html:
    """Fidelity of each variant, and the share of its turns that pass each rung, with intervals."""
    counted = run.turns.groupby("variant", observed=True)["fidelity"].count()
    over_all = [
        Dot(name, row["fidelity"], row["fidelity_low"], row["fidelity_high"], int(counted[name]), row["insufficient"])
        for name, row in zip(run.variants, _rows(run.summary()), strict=True)
    ]
    rungs = _rows(run.ladder())
    groups = [Group("fidelity, 0 to 1", over_all)]
    for level in sorted({row["level"] for row in rungs}):
        of_level = [row for row in rungs if row["level"] == level]
        dots = [
            Dot(row["variant"], row["pass_rate"], row["pass_low"], row["pass_high"], row["n"], row["insufficient"])
            for row in of_level
        ]
        groups.append(Group(f"L{level} {of_level[0]['rung']}, share of turns that pass it", dots))
    scale = axis("agreement with the recorded answers, with its 95 % interval by session", "score", [], high=1.0)
    return strips("Fidelity ladder", groups, scale)


def pareto(run: Run, baseline: str | None = None, *, by: str = "saved_ratio") -> Html:
    """Fidelity over tokens left out (`saved_ratio`) or over the TTFT against the baseline's (`ttft_ratio`)."""
    against = baseline or run.variants[0]
    same = {"saved_ratio": 0.0, "ttft_ratio": 1.0}[by]
    rows = _rows(run.summary(baseline))
    points = [
        Point(
            row["variant"],
            same if row["variant"] == against else row[by],
            row["fidelity"],
            row["fidelity_low"],
            row["fidelity_high"],
            row["n_turns"],
            row["insufficient"],
        )
        for row in rows
    ]
    y = axis("fidelity", "score", [], high=1.0)
    if by == "saved_ratio":
        x = axis(f"prompt tokens left out against {against}", "share", [point.x for point in points])
        return scatter("Savings and fidelity", points, x, y)
    x = axis(f"time to first token, ratio to {against}", "ratio", [point.x for point in points])
    return scatter("Speed and fidelity", points, x, y, less_is_better=True)


def savings_by_depth(run: Run, baseline: str | None = None) -> Html:
    """Tokens left out, by how deep a turn stands in its conversation."""
    table = run.by_depth(baseline)
    return _savings(table, "depth", "saved_ratio", "Savings by turn depth", baseline or run.variants[0])


def savings_by_section(run: Run, baseline: str | None = None) -> Html:
    """Tokens left out, by section of the prompt, as parts of the whole."""
    table = run.by_section(baseline)
    return _savings(table, "section", "prompt_ratio", "Savings by section", baseline or run.variants[0])


def reuse(run: Run) -> Html:
    """Where reuse is lost: sums over the turns of which all of it is known."""
    return waterfall(
        "Where reuse is lost", [_reuse(run.turns[run.turns["variant"] == name], name) for name in run.variants]
    )


def session(run: Run, name: str, variant: str | None = None, *, repeat: int = 0) -> Html:
    """One replayed session, by the seconds that its answers took, one after the other as they were asked."""
    chosen = variant or run.variants[0]
    turns = run.turns[
        (run.turns["session"] == name) & (run.turns["variant"] == chosen) & (run.turns["repeat"] == repeat)
    ]
    lanes: dict[str, list[Turn]] = {}
    at_s = 0.0
    for number, row in enumerate(_rows(turns)):
        split = Split.of({"ttft_s": row["ttft_s"], "total_s": row["e2e_s"]})
        said = f"turn {row['turn'] + 1}"
        told = Turn(str(number), said, at_s, split, row["prompt_tokens"], row["prompt_tokens_cached"], row["error"])
        lanes.setdefault(f"{row['role'] or 'lane'} {row['lane'].rpartition('/')[2]}".strip(), []).append(told)
        at_s = told.end_s or at_s
    return timeline(f"Session {name[:8]}, {chosen}", [Lane(lane, told) for lane, told in lanes.items()], idle_s=None)


def _savings(table: pd.DataFrame, column: str, measure: str, title: str, against: str) -> Html:
    rows = _rows(table)
    names = [name for name in (*CATEGORIES["depth"], *SECTIONS) if any(row[column] == name for row in rows)]
    groups = [
        Group(
            _GROUP.get(name, name), [Bar(row["variant"], row[measure], row["n"]) for row in rows if row[column] == name]
        )
        for name in names
    ]
    scale = axis(f"share of the prompt left out against {against}, n turns", "share", [row[measure] for row in rows])
    return strips(title, groups, scale)


def _reuse(turns: pd.DataFrame, name: str) -> Reuse:
    counts = ["rendered_tokens", "ideal_tokens", "expected_tokens", "prompt_tokens_cached"]
    there = [column for column in counts if turns[column].notna().any()]
    known = turns.dropna(subset=there) if there else turns.iloc[:0]
    sums = [int(known[column].sum()) if column in there else None for column in counts]
    return Reuse(name, len(known), *sums)


def _rows(table: pd.DataFrame) -> list[Row]:
    """Rows as plain values, None where unknown."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")
    ]
