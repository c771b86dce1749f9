"""Tables for terminals, Markdown, CSV and JSON, and one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyclaude_lab.lab import pictures
from anyclaude_lab.lab.run import Run
from anyclaude_lab.views.document import document
from anyclaude_lab.views.figures import UNKNOWN, dollars, percent, seconds, whole
from anyclaude_lab.views.html import Html, joined, tag
from anyclaude_lab.views.notebook import scrolled

FORMATS = ("table", "json", "csv", "markdown")
# What the short table of a replay shows: column -> heading.
SHORT = {
    "variant": "variant",
    "n_turns": "turns",
    "n_errors": "errors",
    "prompt_tokens_mean": "prompt tokens",
    "saved_ratio": "saved",
    "ideal_hit_rate": "reuse ideal",
    "expected_hit_rate": "expected",
    "reported_hit_rate": "reported",
    "ttft_median_s": "TTFT s",
    "ttft_ratio": "TTFT ratio",
    "trigger_f1": "trigger F1",
    "fidelity": "fidelity",
    "cost_usd": "cost $",
    "verdict": "behaviour",
}
EXAMPLES = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-4-5", "z-ai/glm-4.6")
_HEADS = SHORT | {"ttft_median_s": "TTFT", "cost_usd": "cost"}
_SAVINGS = {
    "cost_usd": "cost",
    "saved_ratio": "tokens left out",
    "uncached_saved_ratio": "tokens not computed",
    "billed_saved_ratio": "bill saved",
}
_BREAK_EVEN = {
    "saved_ratio": "tokens left out",
    "hit_rate_baseline": "reuse without",
    "hit_rate": "reuse with",
    "break_even_hit_rate": "break-even reuse",
    "prompt_cost_ratio": "cost of prompts, ratio",
}


def written(table: pd.DataFrame, kind: str) -> str:
    """A table in one of `FORMATS`."""
    if kind == "json":
        return str(table.to_json(orient="records", indent=1, date_format="iso"))
    if kind == "csv":
        return str(table.to_csv(index=False))
    heads, rows = [str(column) for column in table.columns], _cells(table)
    if kind == "markdown":
        lines = [heads, ["---"] * len(heads), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(_line(line, widths) for line in (heads, *rows))


def short(run: Run) -> pd.DataFrame:
    """The columns of the summary that fit a terminal."""
    return _short(run.summary()).rename(columns=SHORT)


def _short(summary: pd.DataFrame) -> pd.DataFrame:
    """Nothing of cost where nothing costs."""
    kept = [column for column in SHORT if column in summary]
    return summary[[column for column in kept if column != "cost_usd" or summary["cost_usd"].notna().any()]]


def notes(run: Run) -> list[str]:
    """What must be said beside the table."""
    turns = run.turns
    named = ", ".join(sorted(set(turns["tokenizer"].dropna()))) if "tokenizer" in turns else ""
    told = [f"Tokens: {named or 'as reported'}; saved and ratios against {run.variants[0]}."]
    rests = sorted(run.summary().query("insufficient")["variant"])
    if rests:
        told.append(f"insufficient (fewer than 30 paired turns with calls, or 5 sessions): {', '.join(rests)}")
    errors = turns["error"].dropna().unique()
    told += [f"error: {_cell(error)}" for error in errors[:3]]
    return told


def html(run: Run) -> str:
    """The report as one page: no script, nothing loaded, dark where the reader's system is."""
    summary, several = run.summary(), len(run.variants) > 1
    sessions = int(run.turns["session"].nunique())
    said = f"{len(run.variants)} variants, {sessions} sessions, {len(run.cells)} turns; {run.head.get('made_by')}"
    parts: list[Html] = [tag("h1", "Replay"), tag("p", said, class_="quiet")]
    parts += [tag("p", note) for note in notes(run)]
    parts += [tag("h2", "Summary"), html_table(_short(summary), _HEADS)]
    parts += [tag("h2", "Does it still behave?"), pictures.fidelity_ladder(run)]
    if several:
        parts += [tag("h2", "What is gained for it"), pictures.pareto(run), pictures.pareto(run, by="ttft_ratio")]
        parts += [tag("h2", "Where tokens are saved"), pictures.savings_by_depth(run), pictures.savings_by_section(run)]
    parts += [tag("h2", "What the cache reuses"), pictures.reuse(run), _broke(run)]
    parts += [tag("h2", "Cost"), *_cost(run)]
    every = tag("details", tag("summary", "Every figure of the summary"), html_table(summary))
    return document("anyclaude replay", *parts, tag("h2", "Figures"), every)


def write(run: Run, folder: Path) -> list[Path]:
    """`report.html`, `summary.md`, `summary.csv` and `turns.csv` in a folder; with pyarrow `turns.parquet` too."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {
        "report.html": html(run),
        "summary.md": "\n".join([written(short(run), "markdown"), "", *(f"- {note}" for note in notes(run)), ""]),
        "summary.csv": written(run.summary(), "csv"),
        "turns.csv": written(run.turns, "csv"),
    }
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    files = [folder / name for name in made]
    if find_spec("pyarrow") is not None:
        files.append(folder / "turns.parquet")
        run.turns.to_parquet(files[-1])
    return files


def html_table(table: pd.DataFrame, heads: Mapping[str, str] | None = None) -> Html:
    """A table, every cell escaped. `heads` are words for the names of columns."""
    names = [str(column) for column in table.columns]
    head = [tag("th", (heads or {}).get(name, name), scope="col", class_=_kind(table[name])) for name in names]
    rows = []
    for row in table.itertuples(index=False):
        cells = [
            tag("td", said(value, name), class_=_kind(table[name])) for name, value in zip(names, row, strict=True)
        ]
        rows.append(tag("tr", *cells))
    return scrolled(tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows)), "figures")


def said(value: Any, column: str) -> str:
    """A value with the unit that its column's name tells."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or pd.isna(value) or isinstance(value, str):
        return _cell(value)
    if isinstance(value, int | np.integer):
        return whole(int(value))
    if column.endswith("_usd"):
        return dollars(float(value))
    if column.endswith("_s") and not column.endswith("_per_s"):
        return seconds(float(value))
    if column.endswith(("saved_ratio", "hit_rate", "coverage_rate", "hit_rate_baseline")):
        return percent(float(value), 1.0)
    return _cell(value)


def _kind(column: pd.Series[Any]) -> str | None:
    numbers = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return "n" if numbers else None


def _broke(run: Run) -> Html:
    """What broke prefixes, and how much of it."""
    table = run.breaks()
    if not len(table):
        return tag("p", "No prompt failed to continue its lane's last one.", class_="quiet")
    lost = table.pivot_table(index="cause", columns="variant", values="tokens_lost", aggfunc="sum", sort=False)
    told = lost[[name for name in run.variants if name in lost]].sort_values(lost.columns[0], ascending=False)
    return joined(tag("h3", "What broke prefixes: tokens lost"), html_table(told.astype("Int64").reset_index()))


def _cost(run: Run) -> list[Html]:
    """The bill, kept apart from tokens left out and tokens not computed; and the break-even of every filter."""
    summary = run.summary()
    columns = ["variant", "cost_usd", "saved_ratio", "uncached_saved_ratio", "billed_saved_ratio"]
    told = [
        tag("p", f"List prices of {run.prices.date}. Backends that bill nothing by token have no cost.", class_="quiet")
    ]
    told.append(html_table(summary[columns], _SAVINGS))
    if len(run.variants) > 1:
        table = run.break_even(*_asked_models(run))
        said_so = (
            "Prompts of these sizes and reuse, billed by a provider: a filter pays where its reuse stays above the "
            "break-even. Fewer tokens cost more where they are not found in the provider's cache. Reuse is that of the "
            "server that was asked; Claude's own cache, for one, is not broken by the client's billing block."
        )
        told += [tag("h3", "Break-even"), tag("p", said_so), html_table(table, _BREAK_EVEN)]
    return told


def _asked_models(run: Run) -> list[str]:
    """Those that were asked and have a price; else one of each kind."""
    asked = [variant["backend"].partition("=")[2] for variant in run.head["variants"]]
    known = list(dict.fromkeys(model for model in asked if model and run.prices.of(model)))
    return known or [model for model in EXAMPLES if run.prices.of(model)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [[_cell(value) for value in row] for row in table.itertuples(index=False)]


def _cell(value: Any) -> str:
    """A value as it is read; what nobody knows is a dash. Control characters of a trace never reach a terminal."""
    if value is None or pd.isna(value):
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"
    return "".join(character for character in str(value) if character.isprintable())
