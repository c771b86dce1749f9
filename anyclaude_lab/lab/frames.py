"""Rows to DataFrames in one house style: nullable numbers, ordered categories, what they rest on in `.attrs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from anyclaude_lab import __version__
from anyclaude_lab.errors import extras

if TYPE_CHECKING:
    from anyclaude_lab.lab.load import Traces

METRICS_VERSION = 1
# Everywhere the same categories, so that tables can be joined and concatenated.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "role": ("main", "subagent", "helper"),
    "trigger": ("user", "tool_result"),
    "ending": ("complete", "cut", "error", "open"),
    "tier": ("off", "minimal", "moderate", "aggressive", "extreme", "auto"),
    "adapter": ("none", "auto", "generic", "qwen", "mistral", "llama"),
    "backend_kind": ("embedded", "mlx", "openrouter", "claude", "scripted"),
    "depth": ("1", "2-5", "6-20", "21-50", ">50"),
}
_FLOATS = (
    "_s",
    "_ratio",
    "_rate",
    "_score",
    "_acc",
    "_f1",
    "fidelity",
    "_low",
    "_high",
    "_mean",
    "_difference",
    "_usd",
    "_tps",
    "_per_s",
    "agreement",
)
_WHOLE = (
    "_tokens",
    "_calls",
    "_rung",
    "_cached",
    "_uncached",
    "tokens_system",
    "tokens_tools",
    "tokens_messages",
    "tokens_overhead",
)
_FLAGS = {"request_exact", "response_exact", "parsed", "offered", "deferred", "mcp", "stub_tools", "exact", "triggered"}


def frame(rows: Iterable[Mapping[str, Any]], columns: Iterable[str] = (), **attrs: Any) -> pd.DataFrame:
    """Rows as a table in long form. `columns` are there even when there is no row."""
    table = pd.DataFrame.from_records(list(rows))
    for column in columns:
        if column not in table:
            table[column] = None
    for column in table.columns:
        table[column] = _typed(str(column), table[column])
    table.attrs |= {"metrics_version": METRICS_VERSION, "made_by": f"anyclaude-lab {__version__}"} | attrs
    return table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, None where nothing is known."""
    rows = table.to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def depth_bucket(turn: int) -> str:
    """The bucket of the turn with this index (from 0) in its lane."""
    bounds = (1, 5, 20, 50)
    return CATEGORIES["depth"][sum(turn + 1 > bound for bound in bounds)]


def write_parquet(traces: Traces, folder: Path) -> list[Path]:
    """The tables as Parquet files. Raises SettingsError where pyarrow is not installed."""
    with extras():
        import pyarrow  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401 - only whether it is there
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = []
    for name in ("sessions", "turns", "blocks", "tools", "tool_calls", "events"):
        files.append(folder / f"{name}.parquet")
        getattr(traces, name).to_parquet(files[-1])
    return files


def _typed(name: str, column: pd.Series[Any]) -> pd.Series[Any]:
    if name in CATEGORIES:
        known = column.where(column.isin(CATEGORIES[name]), None)
        return known.astype(pd.CategoricalDtype(list(CATEGORIES[name]), ordered=True))
    if name in _FLAGS:
        return column.astype("boolean")
    if name.endswith(_FLOATS):
        return pd.to_numeric(column).astype("Float64")
    if pd.api.types.is_integer_dtype(column) or (name.endswith(_WHOLE) and column.isna().all()):
        return column.astype("Int64")
    if pd.api.types.is_float_dtype(column):
        whole = bool((column.dropna() % 1 == 0).all())
        return column.astype("Int64" if whole else "Float64")
    if name == "at":
        return pd.to_datetime(column, utc=True)
    if column.dtype != object:
        return column
    return column.astype("string") if column.isna().all() else column.convert_dtypes()
