"""Tables for terminals, Markdown, CSV and JSON, and one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anyclaude_lab.lab.metrics.fidelity import RUNGS
from anyclaude_lab.lab.run import Run
from anyclaude_lab.views.bars import stacked
from anyclaude_lab.views.figures import UNKNOWN
from anyclaude_lab.views.html import Html, joined, tag

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
    "verdict": "behaviour",
}
_CSS = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}svg.bar{width:14rem;height:.8rem;background:#eee}
.good{fill:#2a7d4f}.rest{fill:#c9d8d0}.bad{fill:#c0504d}.pale{color:#888}"""


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
    table = run.summary()
    return table[[column for column in SHORT if column in table]].rename(columns=SHORT)


def notes(run: Run) -> list[str]:
    """What must be said beside the table."""
    turns = run.turns
    named = ", ".join(sorted(set(turns["tokenizer"].dropna()))) if "tokenizer" in turns else ""
    told = [f"Tokens: {named or 'as reported'}; saved and ratios against {run.variants[0]}. Intervals: run.summary()."]
    rests = sorted(run.summary().query("insufficient")["variant"])
    if rests:
        told.append(f"insufficient (fewer than 30 paired turns with calls, or 5 sessions): {', '.join(rests)}")
    errors = turns["error"].dropna().unique()
    told += [f"error: {error}" for error in errors[:3]]
    return told


def ladder(run: Run) -> pd.DataFrame:
    """How many turns stand on which rung: the first one that fails, by variant."""
    rows = []
    for name in run.variants:
        turns = run.turns[(run.turns["variant"] == name) & run.turns["error"].isna()]
        failed = turns["failed_rung"].value_counts()
        told = {rung: int(failed.get(number, 0)) for number, rung in enumerate(RUNGS)}
        rows.append({"variant": name, "agree": int(turns["failed_rung"].isna().sum()), **told})
    return pd.DataFrame(rows)


def html(run: Run) -> str:
    """The report as one page: no script, nothing loaded."""
    parts: list[Html] = [tag("h1", "Replay"), tag("p", *[joined(note, tag("br")) for note in notes(run)])]
    parts += [tag("h2", "Summary"), html_table(run.summary())]
    parts += [tag("h2", "Prefix reuse: reported, expected, ideal"), _bars(run.summary(), _REUSE)]
    parts += [
        tag("h2", "Fidelity with its 95% interval"),
        _bars(run.summary(), ("fidelity_low", "fidelity", "fidelity_high")),
    ]
    parts += [tag("h2", "Where answers part from the recording"), html_table(ladder(run))]
    parts += [tag("h2", "Pareto"), html_table(run.pareto())]
    if len(run.variants) > 1:
        parts += [tag("h2", "Savings by depth of the conversation"), html_table(run.by_depth())]
    head = joined(tag("meta", charset="utf-8"), tag("title", "anyclaude replay"), tag("style", Html(_CSS)))
    return "<!doctype html>" + tag("html", tag("head", head), tag("body", joined(*parts)), lang="en")


def write(run: Run, folder: Path) -> list[Path]:
    """`report.html`, `summary.md`, `summary.csv`, `turns.csv` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "report.html": html(run),
        "summary.md": written(run.summary(), "markdown"),
        "summary.csv": written(run.summary(), "csv"),
        "turns.csv": written(run.turns, "csv"),
    }
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in made]


_FIDELITY = ("fidelity_low", "fidelity", "fidelity_high")
_REUSE = ("reported_hit_rate", "expected_hit_rate", "ideal_hit_rate")


def _bars(table: pd.DataFrame, columns: Sequence[str]) -> Html:
    rows = [tag("tr", tag("th", "variant"), *[tag("th", column, colspan=2) for column in columns])]
    for row in table.to_dict("records"):
        cells = [tag("td", str(row["variant"]))]
        for column in columns:
            known = not pd.isna(row[column])
            share = min(1.0, max(0.0, float(row[column]))) if known else 0.0
            bar = stacked([("good", share)], f"{column} {_cell(row[column])}", of=1.0) if known else Html("")
            cells += [tag("td", bar), tag("td", _cell(row[column]))]
        rows.append(tag("tr", *cells))
    return tag("table", *rows)


def html_table(table: pd.DataFrame) -> Html:
    """A table, every cell escaped."""
    head = tag("tr", *[tag("th", str(column)) for column in table.columns])
    return tag("table", head, *[tag("tr", *[tag("td", cell) for cell in row]) for row in _cells(table)])


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
