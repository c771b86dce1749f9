"""The house keeps its layers, and the linter that says so can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "anyclaude_lab",
        tmp_path / "anyclaude_lab",
        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_layers_hold(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("wire/sse.py", "import anyclaude_lab.proxy.server", "Imports go down only"),
        ("wire/sse.py", "import time", "The core is pure"),
        ("prompt/billing.py", "import asyncio", "The core is pure"),
        ("exchange/flow.py", "import aiohttp", "Only the proxy, the backends and the engine's server talk HTTP"),
        ("engine/serve/job.py", "import aiohttp", "Only the proxy, the backends and the engine's server talk HTTP"),
        ("proxy/server.py", "import mlx_lm", "Only the engine imports mlx"),
        ("backends/base.py", "import pandas", "Only the lab and the widgets import pandas"),
    ],
)
def test_a_planted_violation_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    target = copy / "anyclaude_lab" / module
    target.write_text(
        target.read_text().replace(
            "from __future__ import annotations", f"from __future__ import annotations\n{line}", 1
        )
    )
    result = lint(copy)
    assert result.returncode != 0
    assert contract in result.stdout
    assert "BROKEN" in result.stdout
