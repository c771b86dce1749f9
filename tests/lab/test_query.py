"""SQL over exported tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError

pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("corpus")
    for name, tokens in (("monday", [1, 2, None]), ("it's", [10])):
        (made / name).mkdir()
        pd.DataFrame({"session": name, "prompt_tokens": pd.array(tokens, "Int64")}).to_parquet(
            made / name / "turns.parquet"
        )
    return made


def test_files_of_one_name_are_one_table_that_knows_where_its_rows_are_from(folder: Path) -> None:
    table = lab.query(
        folder, "SELECT folder, sum(prompt_tokens) AS tokens, count(*) AS n FROM turns GROUP BY ALL ORDER BY n"
    )
    assert table.to_dict("list") == {"folder": ["it's", "monday"], "tokens": [10, 3], "n": [1, 3]}


def test_what_pandas_finds_in_bundled_sessions_sql_finds_in_their_export(tmp_path: Path) -> None:
    from anyclaude_lab.lab.frames import write_parquet
    from tests.trace.record_sessions import BUNDLED

    traces = lab.load(BUNDLED / "short-fix.jsonl")
    write_parquet(traces, tmp_path)
    told = lab.query(tmp_path, "SELECT count(*) AS n, sum(output_tokens) AS tokens FROM turns").to_dict("records")
    assert told == [{"n": len(traces.turns), "tokens": traces.turns["output_tokens"].sum()}]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM nothing", "Tables: turns"),
        ("SELEKT 1", "DuckDB: "),
        ("SELECT * FROM read_csv('/etc/passwd')", "DuckDB: "),
        ("COPY turns TO '/tmp/out.csv'", "DuckDB: "),
        ("SET enable_external_access = true", "DuckDB: "),
    ],
)
def test_a_wrong_question_is_a_sentence_and_reaches_nothing_else(folder: Path, sql: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        lab.query(folder, sql)


def test_a_folder_of_something_else_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no Parquet"):
        lab.query(tmp_path, "SELECT 1")


def test_a_link_out_of_the_folder_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "turns.parquet").symlink_to(folder / "monday" / "turns.parquet")
    with pytest.raises(SettingsError, match="DuckDB: "):
        lab.query(tmp_path / "corpus", "SELECT * FROM turns")
