"""The table of wire rules names tests that exist, for every rule."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\| (\d+) \| ([^|]+) \| ([^|]+) \|([^|]*)\|")
ROWS = {
    int(m[1]): m[4].split() for m in map(ROW.match, (Path(__file__).parent / "README.md").read_text().splitlines()) if m
}


def names_in(path: Path) -> set[str]:
    """Names of the test functions and methods of a module."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name.startswith("test")
    }


def test_every_rule_has_a_row() -> None:
    assert sorted(ROWS) == list(range(1, 37))


@pytest.mark.parametrize("rule", range(1, 37))
def test_every_rule_names_tests_that_exist(rule: int) -> None:
    assert ROWS[rule], f"rule {rule} names no test"
    for named in ROWS[rule]:
        path, _, name = named.partition("::")
        assert (ROOT / path).is_file(), f"rule {rule}: {path} does not exist"
        assert name in names_in(ROOT / path), f"rule {rule}: {path} has no {name}"
