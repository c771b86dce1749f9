"""Of what prompts consist, and what prompt work leaves out of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.explain import Explanation
from anyclaude_lab.lab.plots.style import (
    BLUE,
    COLOURS,
    LINE,
    MARKERS,
    ORANGE,
    SKY,
    Plot,
    counted,
    error_bars,
    key,
    percent,
    spread,
)
from anyclaude_lab.lab.run import Run

SECTIONS = {"system": BLUE, "tools": ORANGE, "messages": SKY, "template": LINE}


def sections(of: Run | Sequence[Explanation]) -> Plot:
    """Tokens by section, a bar for each variant: the mean prompt of a run, or one request explained in several ways."""
    rows, note = _from_run(of) if isinstance(of, Run) else _from_explanations(of)
    first, last = rows[0], min(rows, key=_total)
    share = 1 - _total(last) / _total(first) if _total(first) else 0.0
    title = (
        f"{last['variant']} leaves {_total(last):,.0f} of {_total(first):,.0f} tokens ({percent(share)} saved)"
        if last is not first
        else f"{first['variant']}: {_total(first):,.0f} tokens; no variant has fewer"
    )
    plot = Plot(title, note, height_in=1.5 + 0.42 * len(rows))
    axes = plot.axes[0]
    names = [str(row["variant"]) for row in rows]
    left = [0.0] * len(rows)
    for name, colour in SECTIONS.items():
        widths = [max(0.0, float(row[name])) for row in rows]
        axes.barh(names, widths, left=left, color=colour, label=name, height=0.62)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, row in enumerate(rows):
        axes.text(left[place], place, f" {_total(row):,.0f}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, max(left) * 1.1 or 1)
    axes.set_xlabel("prompt tokens")
    key(axes)
    return plot


def depth(run: Run, baseline: str | None = None) -> Plot:
    """The share of a prompt that each variant saves, by how deep a turn stands in its conversation."""
    table = run.by_depth(baseline)
    against = baseline or run.variants[0]
    places = [str(name) for name in table["depth"].cat.categories if (table["depth"] == name).any()]
    names = [name for name in run.variants if (table["variant"] == name).any()]
    best = max(names, key=lambda name: _shares(table, name, places)[0][0] or 0.0)
    shares = [share for share in _shares(table, best, places)[0] if share is not None]
    title = (
        f"{best} saves {percent(shares[0])} of a first prompt, {percent(shares[-1])} of those {places[-1]} turns deep"
    )
    if places[-1] == "1":
        title = f"{best} saves {percent(shares[0])} of a first prompt"
    turns = run.turns
    plot = Plot(title, f"against {against}; {_rests_on(turns)}; bars: 95% interval by session", height_in=3.2)
    axes = plot.axes[0]
    for number, (name, shift) in enumerate(zip(names, spread(len(names), 0.3), strict=True)):
        values, lows, highs = _shares(table, name, places)
        known = [place for place, value in enumerate(values) if value is not None]
        axes.errorbar(
            [place + shift for place in known],
            [100 * (values[place] or 0.0) for place in known],
            yerr=[[100 * length[place] for place in known] for length in error_bars(values, lows, highs)],
            color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
            capsize=3, linewidth=1.2, label=name,
        )  # fmt: skip
    counts = table[table["variant"] == names[0]].set_index("depth")["n"]
    axes.set_xticks(range(len(places)), [f"{place}\n(n = {counts[place]})" for place in places])
    axes.set_xlabel("turn of the conversation")
    axes.set_ylabel("prompt tokens saved (%)")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    key(axes)
    return plot


def _from_run(run: Run) -> tuple[list[dict[str, Any]], str]:
    turns = run.turns.dropna(subset=["rendered_tokens"])
    if turns.empty:
        raise SettingsError("No prompt of this run was rendered: its backend's tokenizer is not known.")
    parts = ["tokens_system", "tokens_tools", "tokens_messages", "tokens_overhead"]
    means = turns.groupby("variant", observed=True)[parts].mean()
    rows = [
        {"variant": name} | dict(zip(SECTIONS, map(float, means.loc[name]), strict=True))
        for name in run.variants
        if name in means.index
    ]
    return rows, f"mean prompt; {_rests_on(turns)}; {turns['tokenizer'].iloc[0]}"


def _from_explanations(explained: Sequence[Explanation]) -> tuple[list[dict[str, Any]], str]:
    if not explained:
        raise SettingsError("Give at least one explanation: [lab.explain(turn, variant), ...].")
    rows = []
    for each in explained:
        row: dict[str, Any] = {name: getattr(each.after, name) for name in ("system", "tools", "messages")}
        glue = (each.prompt_tokens or each.after.total) - each.after.total
        rows.append({"variant": each.variant, **row, "template": glue})
    return rows, f"one request; {explained[0].tokenizer}"


def _total(row: dict[str, Any]) -> float:
    return sum(float(row[name]) for name in SECTIONS)


def _shares(
    table: pd.DataFrame, name: str, places: Sequence[str]
) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """Share saved, and the ends of its interval, at each depth; None where nothing is known."""
    rows = {str(row["depth"]): row for row in table[table["variant"] == name].to_dict("records")}
    columns = []
    for column in ("saved_ratio", "saved_low", "saved_high"):
        found = [rows[place][column] if place in rows else None for place in places]
        columns.append([None if value is None or pd.isna(value) else float(value) for value in found])
    return columns[0], columns[1], columns[2]


def _rests_on(turns: pd.DataFrame) -> str:
    first = turns[turns["variant"] == turns["variant"].iloc[0]]
    return counted(len(first), int(first["session"].nunique()))
