"""How answers hold up when prompts get shorter."""

from __future__ import annotations

from typing import Any

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.metrics.fidelity import RUNGS
from anyclaude_lab.lab.metrics.statistics import Interval, bootstrap_mean
from anyclaude_lab.lab.plots.style import (
    BLUE,
    COLOURS,
    GREEN,
    INK,
    LINE,
    MARKERS,
    ORANGE,
    PALE,
    Plot,
    counted,
    error_bars,
    key,
    percent,
    spread,
)
from anyclaude_lab.lab.run import Run

SCHEMA = RUNGS.index("schema")
MARK_ONE, MARK_TWO = 34.0, 46.0


def ladder(run: Run) -> Plot:
    """The share of turns that pass each rung of the fidelity ladder, a line for each variant."""
    turns = run.turns[run.turns["error"].isna()]
    if turns.empty:
        raise SettingsError("Every turn of this run failed: there is no answer to judge.")
    passed = {name: _passed(turns[turns["variant"] == name]) for name in run.variants}
    best = max(run.variants, key=lambda name: passed[name][-1].estimate or 0.0)
    top = passed[best][-1]
    shares = [percent(found.estimate or 0.0) for found in (passed[best][SCHEMA], top)]
    title = f"{best}: {shares[0]} of turns pass the schema, {shares[1]} every rung"
    note = f"against the recording; {counted(top.n, top.clusters)} a variant; bars: 95% interval by session"
    plot = Plot(title, note, height_in=3.4)
    axes = plot.axes[0]
    for number, (name, shift) in enumerate(zip(run.variants, spread(len(run.variants), 0.4), strict=True)):
        values = [found.estimate for found in passed[name]]
        lengths = error_bars(values, [f.low for f in passed[name]], [f.high for f in passed[name]])
        axes.errorbar(
            [place + shift for place in range(len(RUNGS))],
            [100 * (value or 0.0) for value in values],
            yerr=[[100 * length for length in side] for side in lengths],
            color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
            capsize=2.5, linewidth=1.2, markersize=5, label=name,
        )  # fmt: skip
    axes.set_xticks(range(len(RUNGS)), RUNGS)
    axes.set_ylim(-3, 105)
    axes.set_xlabel("rung, each asks more than the one before")
    axes.set_ylabel("turns that pass (%)")
    key(axes)
    return plot


def pareto(run: Run, baseline: str | None = None) -> Plot:
    """Prompt tokens against fidelity. Grey is what another variant beats in all that is known."""
    table = run.summary(baseline)
    table["dominated"] = run.pareto(baseline)["dominated"]
    table = table.dropna(subset=["prompt_tokens_mean", "fidelity"])
    if table.empty:
        raise SettingsError("No variant has both prompt tokens and fidelity.")
    rows: list[dict[Any, Any]] = table.to_dict("records")
    front = sorted((row for row in rows if not row["dominated"]), key=lambda row: float(row["prompt_tokens_mean"]))
    title = f"{len(front)} of {len(rows)} variants are worth a look; fewest tokens: {front[0]['variant']}"
    rests_on = counted(int(table["n_turns"].max()), int(table["n_sessions"].max()))
    note = f"{rests_on} a variant; bars: 95% interval by session"
    plot = Plot(title, note, height_in=3.6)
    axes = plot.axes[0]
    places: dict[tuple[float, float], list[dict[Any, Any]]] = {}
    for row in rows:
        places.setdefault((float(row["prompt_tokens_mean"]), float(row["fidelity"])), []).append(row)
    for (x, y), there in places.items():
        _mark(axes, x, y, there)
    axes.plot(
        [float(row["prompt_tokens_mean"]) for row in front], [float(row["fidelity"]) for row in front],
        color=BLUE, linewidth=1, alpha=0.5, zorder=1,
    )  # fmt: skip
    axes.set_xlabel("prompt tokens (mean)")
    axes.set_ylabel("fidelity to the recording (0 to 1)")
    axes.margins(x=0.18)
    axes.set_ylim(-0.04, 1.12)
    return plot


def stubs(table: pd.DataFrame) -> Plot:
    """What a line in the place of each tool's text saves, and what it costs. `table`: `lab.stub_ablation`'s."""
    table = table.sort_values(["saved_tokens", "tool"], ascending=[True, False], kind="stable")
    names = [str(name) for name in table["tool"]]
    lost = int((table["valid_calls_full"] - table["valid_calls_stubbed"]).clip(lower=0).sum())
    calls = int(table["calls_full"].sum())
    title = (
        f"Stubs save {int(table['saved_tokens'].sum()):,} tokens a prompt, and {lost} of {calls} calls no longer fit"
    )
    note = f"calls that fit the tool's own schema, of those made; n = {calls} calls with texts in full"
    plot = Plot(title, note, height_in=1.4 + 0.3 * len(names), panels=2, sharey=True, width_ratios=[3, 2])
    saved, valid = plot.axes
    saved.barh(names, [float(value) for value in table["saved_tokens"]], color=BLUE, height=0.6)
    for place, value in enumerate(table["saved_tokens"]):
        saved.text(float(value), place, f" {int(value):,}", va="center", fontsize=8.5)
    saved.set_xlim(0, float(table["saved_tokens"].max()) * 1.15 or 1)
    saved.set_xlabel("prompt tokens saved")
    for kind, colour, marker, size in (("full", ORANGE, "s", MARK_TWO), ("stubbed", BLUE, "o", MARK_ONE)):
        _shares_of_calls(valid, table, kind, colour, marker, size)
    for place, made in enumerate(table["calls_full"] + table["calls_stubbed"]):
        if not made:
            valid.text(50, place, "not called", va="center", ha="center", fontsize=8.5, color=PALE)
    valid.set_xlim(-6, 106)
    valid.set_xlabel("calls that fit the schema (%)")
    for axes in plot.axes:
        axes.grid(axis="y", visible=False)
    valid.tick_params(axis="y", length=0)
    key(valid, right=True)
    return plot


def _passed(turns: pd.DataFrame) -> list[Interval]:
    """Of each rung, the share of turns that fell on none up to it."""
    sessions = list(turns["session"])
    failed = [None if pd.isna(value) else int(value) for value in turns["failed_rung"]]
    return [
        bootstrap_mean([float(rung is None or rung > number) for rung in failed], sessions)
        for number in range(len(RUNGS))
    ]


def _mark(axes: Any, x: float, y: float, rows: list[dict[Any, Any]]) -> None:
    """The variants that stand in one place."""
    beaten = all(row["dominated"] for row in rows)
    low, high = (None if pd.isna(rows[0][name]) else float(rows[0][name]) for name in ("fidelity_low", "fidelity_high"))
    lengths = error_bars([y], [low], [high])
    axes.errorbar([x], [y], yerr=lengths, color=LINE if beaten else GREEN, marker="o", capsize=3, zorder=2)
    axes.annotate(
        "\n".join(str(row["variant"]) for row in rows), (x, y), xytext=(7, 5), textcoords="offset points",
        fontsize=8.5, color=PALE if beaten else INK,
    )  # fmt: skip


def _shares_of_calls(axes: Any, table: pd.DataFrame, kind: str, colour: str, marker: str, size: float) -> None:
    made, fit = table[f"calls_{kind}"], table[f"valid_calls_{kind}"]
    known = [place for place, count in enumerate(made) if count]
    shares = [100 * float(fit.iloc[place]) / float(made.iloc[place]) for place in known]
    axes.scatter(shares, known, color=colour, marker=marker, s=size, label=kind, zorder=3)
