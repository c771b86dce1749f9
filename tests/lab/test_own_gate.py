"""The gate that is `make replay`: it passes as things are, and a planted regression fails it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.cli import main
from anyclaude_lab.wire.request import Request

ROOT = Path(__file__).parents[2]


def words() -> list[str]:
    """What it calls anyclaude-bench with."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^\t\$\(BIN\)/anyclaude-bench (.*) \$\(ARGS\)$", text, re.MULTILINE)
    return shlex.split(line)


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_it_passes() -> None:
    assert main(words()) == 0


def longer(request: Request) -> Request:
    return request.with_(system=[{"type": "text", "text": "Be brief. " * 20}, *request.system])


def as_it_came(request: Request) -> Request:
    return request


@pytest.mark.parametrize(
    ("billing", "failed"), [(as_it_came, "expected_hit_rate_difference is -"), (longer, "prompt_tokens_ratio is 1.")]
)
def test_a_planted_regression_fails_it(
    billing: Callable[[Request], Request],
    failed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The billing block stays in, and a system prompt that grew."""
    monkeypatch.setattr("anyclaude_lab.prompt.pipeline.remove_billing", billing)
    assert main([*words(), "--format", "json"]) == 1
    said = capsys.readouterr().err
    assert f"FAILED as the proxy: {failed}" in said
    assert "FAILED untouched" not in said


def test_a_figure_that_is_missing_fails_it(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A baseline without the variants of the grid."""
    (tmp_path / "grid.toml").write_text('[[variant]]\nname = "new"\nbackend = "scripted"\n')
    asked = words()
    asked[asked.index("--grid") + 1] = str(tmp_path / "grid.toml")
    assert main(asked) == 1
    assert "new: prompt_tokens_ratio is missing" in capsys.readouterr().err
