"""The notebooks as files, and, by nbval, what their cells show."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebooks.refresh import FOLDER, clean, found, written
from tests.requirements import missing, require_mlx

MOST_CELLS = 11
LEAST_NUMBERS = 3
IGNORED = "# NBVAL_IGNORE_OUTPUT"
# Where a file was, and what is another in the next run: none of it belongs into an output.
OF_A_MACHINE = re.compile(
    r"/tmp/|/home/(?!nobody)|/root/|/Users/|[A-Z]:\\|127\.0\.0\.1:\d|localhost:\d| at 0x[0-9a-f]+"
)
DEADLINE_S = 800
# A formula that is wrong by a factor, as a careless change would leave it.
PLANTED = """
import anyclaude_lab.lab.prefixes as prefixes
right = prefixes.shared_tokens
prefixes.shared_tokens = lambda first, second: right(first, second) // 2
"""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.fixture(params=found(), ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    given: Path = request.param
    return given


def test_there_are_eight_and_each_has_its_line_in_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text()
    names = [path.name for path in found()]
    assert [name[:2] for name in names] == [f"{number:02}" for number in range(1, 9)]
    assert all(f"]({name})" in readme for name in names)


def test_a_notebook_is_short_executed_in_order_and_taught_in_words(path: Path) -> None:
    book = read(path)
    assert len(book.cells) <= MOST_CELLS
    assert [cell.execution_count for cell in code(book)] == list(range(1, len(code(book)) + 1))
    assert all(cell.outputs for cell in code(book))
    kinds = [cell.cell_type for cell in book.cells]
    assert kinds[0] == kinds[-1] == "markdown" and "code, code" not in ", ".join(kinds)


def test_at_least_three_outputs_with_numbers_are_compared(path: Path) -> None:
    compared = [cell for cell in code(read(path)) if not cell.source.startswith(IGNORED)]
    shown = ["".join(output.get("data", {}).get("text/plain", output.get("text", "")) for output in cell.outputs)
             for cell in compared]  # fmt: skip
    assert sum(bool(re.search(r"\d", text)) for text in shown) >= LEAST_NUMBERS


def test_only_the_public_names_are_used(path: Path) -> None:
    for cell in code(read(path)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("anyclaude_lab")
            if isinstance(node, ast.Import):
                ours = [name for name in node.names if name.name.startswith("anyclaude_lab")]
                assert all((name.name, name.asname) == ("anyclaude_lab", "lab") for name in ours)
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_")


def test_a_file_holds_nothing_that_another_run_or_machine_would_write(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == written(clean(read(path))), "run python -m tests.notebooks.refresh"
    for cell in code(read(path)):
        for output in cell.outputs:
            told = {kind: data for kind, data in output.get("data", {}).items() if kind != "image/png"}
            assert not OF_A_MACHINE.search(f"{told} {output.get('text', '')}")
            assert output.get("name") != "stderr"


def checked(path: Path, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """nbval over one notebook, in an empty home: every cell is run, and what it shows compared with the file."""
    if importlib.util.find_spec("nbval") is None:
        missing("nbval, which compares notebooks with their outputs")
    require_mlx()
    words = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    words += ["--nbval-sanitize-with", str(FOLDER / "sanitize.cfg")]  # how a card looks is none of its facts
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(path)],
        cwd=FOLDER.parent, env=os.environ | {"HOME": str(folder)} | environ, capture_output=True, text=True,
        timeout=DEADLINE_S,
    )  # fmt: skip


@pytest.mark.timeout(DEADLINE_S + 30)
def test_every_cell_shows_what_stands_in_the_file(path: Path, tmp_path: Path) -> None:
    done = checked(path, tmp_path)
    cells = len(code(read(path)))
    assert f"\n{cells} passed in " in done.stdout, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.timeout(DEADLINE_S + 30)
def test_a_changed_formula_is_seen(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    done = checked(FOLDER / "03-prefix-breaks.ipynb", tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    failed = re.findall(r"^FAILED \S+::Cell (\d+)", done.stdout, re.MULTILINE)
    assert failed == ["4"], "the picture whose title is that figure, and nothing else"
