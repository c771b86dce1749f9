"""What a cache reuses, and what that is worth."""

from __future__ import annotations

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.metrics.statistics import geometric_speedup
from anyclaude_lab.lab.plots.style import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PALE,
    Plot,
    counted,
    key,
    percent,
    plain_log_scale,
    whole_numbers,
)
from anyclaude_lab.lab.run import Run

TTFT_COLUMNS = ["session", "ttft_s", "ttft_s_baseline"]


def shared_head(table: pd.DataFrame) -> Plot:
    """How much of their heads requests share. `table` is what `lab.shared_heads` returns."""
    if table.empty:
        raise SettingsError("There is no pair of requests to compare.")
    sums = table.groupby("variant", sort=False, observed=True)[["shared_tokens", "prompt_tokens"]].sum()
    rates = [float(row["shared_tokens"]) / float(row["prompt_tokens"]) for _, row in sums.iterrows()]
    names = [str(name) for name in sums.index]
    title = f"Of what the next session sends, {percent(rates[-1])} is in the cache already"
    title += f"; {percent(rates[0])} without prompt work" if len(rates) > 1 else ""
    pairs = len(table) // len(names)
    note = f"tokens before the first difference; n = {pairs} pair{'s' * (pairs != 1)}; {table.attrs['tokenizer']}"
    plot = Plot(title, note, height_in=1.5 + 0.45 * len(names))
    axes = plot.axes[0]
    means = sums / pairs
    axes.barh(names, list(means["prompt_tokens"]), color=LINE, height=0.6, label="computed anew")
    axes.barh(names, list(means["shared_tokens"]), color=GREEN, height=0.6, label="shared")
    for place, (shared, whole) in enumerate(zip(means["shared_tokens"], means["prompt_tokens"], strict=True)):
        axes.text(float(whole), place, f" {shared:,.0f} of {whole:,.0f}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, float(means["prompt_tokens"].max()) * 1.25)
    axes.set_xlabel("prompt tokens")
    key(axes)
    return plot


def reuse(run: Run, session: str | None = None, variant: str | None = None) -> Plot:
    """Tokens that a cache reuses along one session: at best, as its rules have it, as the backend reports."""
    turns = run.turns[run.turns["variant"] == (variant or run.variants[-1])]
    session = session or str(turns["session"].iloc[0])
    turns = turns[(turns["session"] == session) & (turns["repeat"] == 0)].dropna(subset=["rendered_tokens"])
    if turns.empty:
        raise SettingsError(f"This run has no rendered prompt of session {session} in that variant.")
    whole = float(turns["rendered_tokens"].sum())
    ideal, expected = (float(turns[f"{name}_tokens"].sum()) / whole for name in ("ideal", "expected"))
    known = turns.dropna(subset=["prompt_tokens_cached", "prompt_tokens"])
    told = float(known["prompt_tokens_cached"].sum()) / float(known["prompt_tokens"].sum()) if len(known) else None
    found = "nothing is reported" if told is None else f"{percent(told)} was"
    title = f"{percent(ideal)} of these prompts could be reused, {percent(expected)} was expected to be, {found}"
    note = f"session {session[:8]}, {variant or run.variants[-1]}; n = {len(turns)} turns, {len(known)} reported"
    plot = Plot(title, f"{note}; {turns['tokenizer'].iloc[0]}", height_in=3.3)
    axes, places = plot.axes[0], list(range(1, len(turns) + 1))
    axes.bar(places, list(turns["rendered_tokens"]), color=LINE, width=0.75, label="whole prompt")
    axes.plot(places, list(turns["ideal_tokens"]), color=GREEN, linewidth=6, alpha=0.35, label="ideal")
    axes.plot(places, list(turns["expected_tokens"]), color=BLUE, label="expected")
    reported = [None if pd.isna(value) else float(value) for value in turns["prompt_tokens_cached"]]
    axes.scatter(
        [place for place, value in zip(places, reported, strict=True) if value is not None],
        [value for value in reported if value is not None],
        color=ORANGE, edgecolor=INK, linewidth=0.5, s=26, zorder=3, label="reported",
    )  # fmt: skip
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("request of the session")
    axes.set_ylabel("tokens")
    whole_numbers(axes.xaxis)
    key(axes)
    return plot


def ttft(run: Run, variant: str | None = None, baseline: str | None = None) -> Plot:
    """Seconds to the first content, turn by turn: the baseline (cold) against a variant (warm)."""
    cold, warm = baseline or run.variants[0], variant or run.variants[-1]
    table = run.compare(cold)
    pairs = table[table["variant"] == warm].dropna(subset=["ttft_s", "ttft_s_baseline", "rendered_tokens"])
    if pairs.empty:
        raise SettingsError(f"No turn has a time in both {cold} and {warm}.")
    pairs = pairs.sort_values("rendered_tokens", kind="stable")
    found = geometric_speedup(*(list(pairs[name]) for name in ("ttft_s_baseline", "ttft_s", "session")))
    sooner = int((pairs["ttft_s"] < pairs["ttft_s_baseline"]).sum())
    alone = "; one session, no interval" if found.low is None else ""
    span = "" if found.low is None else f" (95% interval {found.low:.1f} to {found.high:.1f})"
    title = f"{warm} answered sooner in {sooner} of {len(pairs)} turns, {found.estimate:.1f} times on average{span}"
    note = f"geometric mean; {counted(found.n, found.clusters)}{alone}; times of this machine"
    plot = Plot(title, note, height_in=3.4)
    axes = plot.axes[0]
    sizes = [float(value) for value in pairs["rendered_tokens"]]
    before, after = list(pairs["ttft_s_baseline"]), list(pairs["ttft_s"])
    axes.vlines(sizes, after, before, color=PALE, linewidth=0.8, alpha=0.6)
    axes.scatter(sizes, before, color=ORANGE, marker="s", s=24, zorder=3, label=cold)
    axes.scatter(sizes, after, color=BLUE, marker="o", s=24, zorder=3, label=warm)
    axes.set_yscale("log")
    plain_log_scale(axes.yaxis)
    axes.set_xlabel(f"prompt tokens ({warm})")
    axes.set_ylabel("time to first token (s)")
    key(axes)
    return plot
