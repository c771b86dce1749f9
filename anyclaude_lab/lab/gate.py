"""Limits that a run must keep, for CI: `fidelity=0.9` under, `ttft_ratio=1.10` over.

Counts and ratios are gated, never raw times, which belong to one machine. A figure that is missing fails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree  # only written

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.run import Run

Side = Literal["under", "over"]


@dataclass(frozen=True, slots=True)
class Limit:
    """`metric` may not fall under, or rise over, `value`."""

    metric: str
    value: float
    side: Side

    def __str__(self) -> str:
        return f"{self.metric} {'>=' if self.side == 'under' else '<='} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Check:
    """One limit, looked at for one variant."""

    variant: str
    limit: Limit
    found: float | None

    @property
    def passed(self) -> bool:
        if self.found is None:
            return False
        return self.found >= self.limit.value if self.limit.side == "under" else self.found <= self.limit.value

    def __str__(self) -> str:
        found = "is missing" if self.found is None else f"is {self.found:.4g}"
        return f"{self.variant}: {self.limit.metric} {found}, asked for {self.limit}"


def parse_limit(text: str, side: Side) -> Limit:
    """`METRIC=VALUE`. Raises SettingsError."""
    metric, _, value = text.partition("=")
    if metric.endswith("_s"):
        raise SettingsError(
            f'"{metric}" is a time on this machine, which says nothing on another: limit a ratio instead.'
        )
    try:
        if not math.isfinite(number := float(value)):
            raise ValueError
        return Limit(metric.strip(), number, side)
    except ValueError:
        raise SettingsError(f'"{text}" is no limit; write METRIC=VALUE, such as fidelity=0.9.') from None


def checks(run: Run, limits: Sequence[Limit], baseline: Run | None = None) -> list[Check]:
    """Every limit for every variant but the baseline (for that one too, where it is the only one).

    With another run as `baseline`, `*_ratio` and `*_difference` compare variants of the same name with it. Raises
    SettingsError for a metric that no table has.
    """
    table = run.summary() if baseline is None else against(run, baseline)
    columns = [str(column) for column in table.select_dtypes("number").columns if not str(column).endswith("_s")]
    for limit in limits:
        if limit.metric not in columns:
            raise SettingsError(f'"{limit.metric}" is no figure of a run; there are: {", ".join(columns)}.')
    rows: list[dict[Any, Any]] = table.to_dict("records")
    if baseline is None and len(rows) > 1:
        rows = rows[1:]
    return [Check(str(row["variant"]), limit, _known(row[limit.metric])) for row in rows for limit in limits]


def against(run: Run, baseline: Run) -> pd.DataFrame:
    """The summary, with each variant compared to its namesake in `baseline`; unknown where there is none."""
    table, before = run.summary(), baseline.summary().set_index("variant")
    for column, of in (("ttft_ratio", "ttft_median_s"), ("prompt_tokens_ratio", "prompt_tokens_mean")):
        found = [_divided(row[of], _at(before, row["variant"], of)) for row in table.to_dict("records")]
        table[column] = pd.array(found, dtype="Float64")
    for column in ("fidelity", "expected_hit_rate", "reported_hit_rate"):
        found = [_minus(row[column], _at(before, row["variant"], column)) for row in table.to_dict("records")]
        table[f"{column}_difference"] = pd.array(found, dtype="Float64")
    return table


def insufficient(run: Run) -> list[str]:
    """Names of variants whose figures rest on too little."""
    table = run.summary()
    return [str(name) for name in table[table["insufficient"].astype(bool)]["variant"]]


def junit(found: Sequence[Check]) -> bytes:
    """The checks as a JUnit file."""
    failed = sum(not check.passed for check in found)
    suite = ElementTree.Element("testsuite", name="anyclaude-bench", tests=str(len(found)), failures=str(failed))
    for check in found:
        case = ElementTree.SubElement(suite, "testcase", classname=check.variant, name=str(check.limit))
        if not check.passed:
            ElementTree.SubElement(case, "failure", message=str(check))
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _known(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _at(table: pd.DataFrame, name: Any, column: str) -> Any:
    return table.loc[name, column] if name in table.index else None


def _divided(top: Any, bottom: Any) -> float | None:
    top, bottom = _known(top), _known(bottom)
    return None if top is None or not bottom else top / bottom


def _minus(first: Any, second: Any) -> float | None:
    first, second = _known(first), _known(second)
    return None if first is None or second is None else first - second
