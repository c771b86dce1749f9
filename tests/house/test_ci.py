"""`.ci/run` installs what a bare machine lacks, requires everything, and runs the README's command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTES = '#!/bin/sh\necho "$(basename "$0") $* REQUIRE_ALL=$REQUIRE_ALL" >> "$CALLS"\n'
MADE = [f"make {what} REQUIRE_ALL=1" for what in ("audit", "test", "gate", "replay")]
WANTED = ("make", "tmux", "chromium", "npm", "node")


def ci_run(folder: Path, *present: str, failing: str = "") -> tuple[int, list[str]]:
    """Run `.ci/run` with only these programs about; its exit code and what it called."""
    path = folder / "path"
    path.mkdir()
    for name in ("bash", "sh", "dirname", "basename"):
        found = shutil.which(name)
        assert found is not None
        (path / name).symlink_to(found)
    for name in {"apt-get", "make", "id", "sudo", *present}:
        text = "#!/bin/sh\necho 0\n" if name == "id" else NOTES
        fails, _, asked = failing.partition(" ")
        if name == fails:
            text += f'[ -n "{asked}" ] && [ "$*" != "{asked}" ] || exit 7\n'
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    calls = folder / "calls"
    calls.touch()
    env = {"PATH": str(path), "CALLS": str(calls)}
    result = subprocess.run([ROOT / ".ci" / "run"], env=env, capture_output=True, text=True, timeout=300)
    return result.returncode, calls.read_text().splitlines()


def test_what_is_missing_is_installed_by_name(tmp_path: Path) -> None:
    code, calls = ci_run(tmp_path)
    assert code == 0
    (install,) = (call for call in calls if "apt-get install" in call)
    assert {"tmux", "chromium", "npm", "nodejs", "python3-venv"} <= set(install.split())
    assert calls[-len(MADE) :] == MADE


def test_what_is_there_is_not_installed(tmp_path: Path) -> None:
    _, calls = ci_run(tmp_path, *WANTED, "python3")
    installed = {word for call in calls if "apt-get install" in call for word in call.split()}
    assert not installed & {"tmux", "chromium", "npm", "nodejs", "python3-venv", "make"}
    assert calls[-len(MADE) :] == MADE


@pytest.mark.parametrize("failing", ["apt-get", "make"])
def test_a_failure_fails_it(tmp_path: Path, failing: str) -> None:
    code, _ = ci_run(tmp_path, failing=failing)
    assert code == 7


def test_a_weak_dependency_fails_it_after_the_tests_have_run(tmp_path: Path) -> None:
    code, calls = ci_run(tmp_path, *WANTED, "python3", failing="make audit")
    assert code == 1
    assert [call for call in calls if call.startswith("make")] == MADE
