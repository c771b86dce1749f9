"""What importing costs, and that it works where POSIX is not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "anyclaude_lab"
MODULES = sorted(PACKAGE.rglob("*.py"))
POSIX_ONLY = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "readline", "curses"}
HEAVY = {
    "pandas",
    "numpy",
    "mlx",
    "mlx_lm",
    "transformers",
    "tokenizers",
    "jsonschema",
    "jinja2",
    "httpx",
    "tiktoken",
    "IPython",
}


def top_level_imports(source: str) -> set[str]:
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_needs_posix_to_be_imported(module: Path) -> None:
    assert not top_level_imports(module.read_text("utf-8")) & POSIX_ONLY


def test_the_posix_check_sees_a_planted_import() -> None:
    assert top_level_imports("import os\nimport fcntl.x\n") & POSIX_ONLY == {"fcntl"}


def test_starting_the_proxy_loads_nothing_heavy() -> None:
    code = "import json, sys, anyclaude_lab.proxy.__main__; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert not loaded & HEAVY
