"""SQL over tables that do not fit in memory: DuckDB reads Parquet files as it needs them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from anyclaude_lab.errors import SettingsError, extras


def query(folder: str | Path, sql: str) -> pd.DataFrame:
    """The answer to `sql`, whose tables are the Parquet files below `folder`, named as their files are.

    Files of one name in several folders, such as those of several exports, are one table, with their `folder` as a
    column. Files elsewhere and other machines are out of reach, those in `folder` are not: `COPY` can overwrite them.
    Raises SettingsError.
    """
    with extras():
        import duckdb
    tables = _tables(Path(folder))
    with tempfile.TemporaryDirectory(prefix="anyclaude-duckdb-") as scratch, duckdb.connect() as database:
        database.execute("SET temp_directory = ?", [scratch])
        database.execute("SET allowed_directories = ?", [[str(Path(folder).resolve()), scratch]])
        database.execute("SET enable_external_access = false")
        try:
            for name, files in tables.items():
                told = ", ".join(_quoted(str(file), "'") for file in files)
                read = f"read_parquet([{told}], union_by_name = true, filename = 'folder')"
                view = f"SELECT * REPLACE (parse_filename(parse_dirpath(folder)) AS folder) FROM {read}"  # noqa: S608 - quoted
                database.execute(f"CREATE VIEW {_quoted(name, chr(34))} AS {view}")
            database.execute("SET lock_configuration = true")
            return database.execute(sql).df()
        except duckdb.Error as error:
            raise SettingsError(f"DuckDB: {error} Tables: {', '.join(tables)}.") from None


def _tables(folder: Path) -> dict[str, list[Path]]:
    """Files by the name of their table. Raises SettingsError where there is none."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.resolve().rglob("*.parquet")):
        found.setdefault(file.stem, []).append(file)
    if not found:
        raise SettingsError(f"{folder} holds no Parquet files; anyclaude-bench export TRACES --to parquet writes them.")
    return found


def _quoted(text: str, mark: str) -> str:
    return mark + text.replace(mark, mark * 2) + mark
