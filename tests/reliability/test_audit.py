"""The audit of the locked packages: what the database says decides, a missing network does not."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit.py"
LOCK = "# a comment\naiohttp==3.14.5\n    # via x\nmlx==0.31 ; sys_platform == 'darwin'\n"


def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any) -> tuple[int, list[Any]]:
    asked: list[Any] = []

    def urlopen(request: Any, timeout: float) -> Any:
        asked.append(json.loads(request.data))
        if isinstance(answer, OSError):
            raise answer
        path = tmp_path / "answer"
        path.write_text(answer if isinstance(answer, str) else json.dumps(answer))
        return path.open("rb")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    lock = tmp_path / "requirements.lock"
    lock.write_text(LOCK)
    return runpy.run_path(str(AUDIT))["main"]([str(lock)]), asked


def test_every_pinned_package_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, asked = audited(tmp_path, monkeypatch, {"results": [{}, {}]})
    assert code == 0
    assert [(query["package"]["name"], query["version"]) for query in asked[0]["queries"]] == [
        ("aiohttp", "3.14.5"),
        ("mlx", "0.31"),
    ]


def test_a_weakness_fails_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = audited(tmp_path, monkeypatch, {"results": [{"vulns": [{"id": "PYSEC-1"}]}, {}]})
    assert code == 1
    assert "aiohttp 3.14.5: PYSEC-1" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [OSError("no route"), "<html>Please log in</html>", {"error": "busy"}])
def test_without_the_database_it_passes_and_says_so(
    answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(tmp_path, monkeypatch, answer)[0] == 0
    assert "not audited" in capsys.readouterr().out
