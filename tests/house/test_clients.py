"""The releases of Claude Code that tests drive: installed once, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE_NPM = """#!/bin/sh
echo "$*" >> "$CALLS"
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules/.bin"
printf 'half' > "$2/node_modules/.bin/claude"
sleep 0.3
[ -z "$NPM_FAILS" ] || { echo "no such release" >&2; exit 1; }
printf 'whole' > "$2/node_modules/.bin/claude"
"""
ASK = """
import pytest
from tests.requirements import require_claude
for _ in range(2):
    try:
        print(require_claude("9.9.9").read_text())
    except pytest.skip.Exception as skipped:
        print("skipped:", skipped)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(FAKE_NPM)
    npm.chmod(0o755)
    return {
        "PATH": f"{npm.parent}{os.pathsep}{os.environ['PATH']}",
        "ANYCLAUDE_TEST_CLIENTS": str(tmp_path / "clients"),
        "CALLS": str(tmp_path / "calls"),
    }


def ask(env: dict[str, str]) -> subprocess.Popen[str]:
    """A process of its own, as a worker of a parallel run is."""
    return subprocess.Popen(
        [sys.executable, "-c", ASK], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_parallel_tests_install_a_release_once_and_see_it_whole(env: dict[str, str]) -> None:
    workers = [ask(env) for _ in range(3)]
    for worker in workers:
        out, err = worker.communicate(timeout=300)
        assert out.split() == ["whole", "whole"], err
    assert len(Path(env["CALLS"]).read_text().splitlines()) == 1


def test_a_failed_installation_leaves_nothing_and_is_not_repeated(env: dict[str, str]) -> None:
    out, err = ask({**env, "NPM_FAILS": "1"}).communicate(timeout=300)
    assert out.count("skipped: missing: Claude Code 9.9.9") == 2
    assert "no such release" in err
    assert len(Path(env["CALLS"]).read_text().splitlines()) == 1
    out, _ = ask(env).communicate(timeout=300)
    assert out.split() == ["whole", "whole"]


def test_a_required_client_that_is_missing_fails(env: dict[str, str]) -> None:
    worker = ask({**env, "NPM_FAILS": "1", "REQUIRE_ALL": "1"})
    _, err = worker.communicate(timeout=300)
    assert worker.returncode != 0
    assert "required, but missing: Claude Code 9.9.9" in err
