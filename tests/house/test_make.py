"""`make run` on machines that lack something, and after an interruption."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".ci" / "venv.py"
AS_OLD = """
import runpy, sys
sys.version_info = (3, 9, 2, "final", 0)
sys.argv = ["venv.py", {folder!r}, "run"]
runpy.run_path({venv!r}, run_name="__main__")
"""
# Stands for `python3`, and makes itself the environment's Python: notes what it is asked, fails at what is in `fails`.
FAKE_PYTHON = """#!/bin/sh
case "$1" in
  .ci/venv.py) mkdir -p "$2/bin"; cp "$0" "$2/bin/python"; cp "$0" "$2/bin/uv"; echo venv >> calls; exit 0;;
esac
echo "$*" >> calls
[ ! -e fails ] || ! echo "$*" | grep -q -e "$(cat fails)"
"""


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_venv(
    folder: Path, path: Path, *, python: list[str] | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `.ci/venv.py FOLDER run` with only the programs in `path`."""
    return subprocess.run(
        [*(python or [sys.executable, str(VENV), str(folder), "run"])],
        env={"PATH": str(path), **(env or {})},
        capture_output=True,
        text=True,
        timeout=600,
    )


def old_python(folder: Path) -> list[str]:
    return [sys.executable, "-c", AS_OLD.format(folder=str(folder), venv=str(VENV))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH without anything."""
    folder = tmp_path / "path"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("minor", [4, 6, 8])
def test_the_check_runs_on_an_old_python(minor: int) -> None:
    ast.parse(VENV.read_text("utf-8"), feature_version=(3, minor))


def test_an_old_python_is_told_of_a_newer_one(tmp_path: Path, path: Path) -> None:
    program(path, "python3.14", "#!/bin/sh\nexit 127\n")  # a version manager's name for what is not installed
    (path / "python3.11").symlink_to(sys.executable)
    result = make_venv(tmp_path / "venv", path, python=old_python(tmp_path / "venv"))
    assert result.returncode == 1
    assert f"Python 3.11 or newer is needed and {sys.executable} is Python 3.9" in result.stderr
    assert result.stderr.endswith("run: make PYTHON=python3.11 run\n")
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("installer", "command"),
    [
        ("apt-get", "sudo apt-get install -y python3.11 python3.11-venv && make PYTHON=python3.11 run"),
        ("brew", "brew install python@3.13 && make PYTHON=python3.13 run"),
        ("dnf", "sudo dnf install -y python3.11 && make PYTHON=python3.11 run"),
        (None, "make PYTHON=/path/to/python3.11 run"),
    ],
)
def test_an_old_python_alone_is_told_what_to_install(
    tmp_path: Path, path: Path, installer: str | None, command: str
) -> None:
    if installer:
        program(path, installer, "#!/bin/sh\n")
    result = make_venv(tmp_path / "venv", path, python=old_python(tmp_path / "venv"))
    assert result.returncode == 1
    assert result.stderr.endswith(f"run: {command}\n")
    assert result.stderr.count("\n") == 1


def test_a_python_that_cannot_make_environments_is_told_what_to_install(tmp_path: Path, path: Path) -> None:
    program(path, "apt-get", "#!/bin/sh\n")
    (tmp_path / "ensurepip.py").write_text("raise ImportError('Debian ships this apart')")
    result = make_venv(tmp_path / "venv", path, env={"PYTHONPATH": str(tmp_path)})
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert result.returncode == 1
    assert "cannot make virtual environments" in result.stderr
    assert result.stderr.endswith(f"run: sudo apt-get install -y {name}-venv && make PYTHON={name} run\n")
    assert not (tmp_path / "venv").exists()


def test_a_half_made_environment_is_completed(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (folder / "kept").touch()
    assert make_venv(folder, Path("/usr/bin")).returncode == 0
    subprocess.run([folder / "bin" / "python", "-c", "import pip"], check=True)
    assert (folder / "kept").exists()
    again = make_venv(folder, Path("/usr/bin"))
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(tmp_path / "nowhere")
    (folder / "installed").touch()
    assert make_venv(folder, Path("/usr/bin")).returncode == 0
    subprocess.run([folder / "bin" / "python", "-c", "import pip"], check=True)
    assert not (folder / "installed").exists()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of what make reads, and a Python that only notes what it is asked."""
    if not shutil.which("make"):
        pytest.skip("missing: make")
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock", ".ci/venv.py"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    program(tmp_path / "bin", "python3", FAKE_PYTHON)
    return folder


def make(checkout: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run make; its exit code, and what Python was asked meanwhile."""
    calls = checkout / "calls"
    calls.write_text("")
    path = os.pathsep.join((str(checkout.parent / "bin"), os.environ["PATH"]))
    line = ["make", "--no-print-directory", *arguments]
    # Of a make that runs these tests nothing may reach this one.
    result = subprocess.run(line, cwd=checkout, env={"PATH": path}, capture_output=True, text=True, timeout=300)
    return result.returncode, calls.read_text().splitlines()


def test_an_interrupted_installation_is_continued(checkout: Path) -> None:
    installing = "-m pip install --quiet --disable-pip-version-check"
    (checkout / "fails").write_text("no-deps")
    code, calls = make(checkout, "run")
    assert code != 0
    assert calls == ["venv", f"{installing} -r requirements.lock", f"{installing} --no-deps -e ."]
    (checkout / "fails").unlink()
    code, calls = make(checkout, "run")
    assert code == 0
    assert calls == [
        "venv",
        f"{installing} -r requirements.lock",
        f"{installing} --no-deps -e .",
        "-m anyclaude_lab.proxy --proxy-only",
    ]


def test_a_second_run_installs_nothing(checkout: Path) -> None:
    make(checkout, "run")
    code, calls = make(checkout, "run", "ARGS=--port 0")
    assert (code, calls) == (0, ["-m anyclaude_lab.proxy --proxy-only --port 0"])


def test_a_changed_lock_is_installed(checkout: Path) -> None:
    make(checkout, "run")
    later = (checkout / ".venv" / "installed").stat().st_mtime + 5
    os.utime(checkout / "requirements.lock", (later, later))
    _, calls = make(checkout, "run")
    assert any("-r requirements.lock" in call for call in calls)


def test_another_python_can_be_named(checkout: Path) -> None:
    other = program(checkout.parent / "other", "python3.99", FAKE_PYTHON.replace("echo venv", "echo other"))
    _, calls = make(checkout, "run", f"PYTHON={other}")
    assert calls[0] == "other"


def test_testing_installs_lints_types_and_tests(checkout: Path) -> None:
    env = {"PATH": os.environ["PATH"]}
    result = subprocess.run(["make", "-n", "test"], cwd=checkout, env=env, capture_output=True, text=True, check=True)
    expected = [
        ".ci/venv.py",
        "-r requirements.lock",
        "-e .",
        "-r requirements-dev.lock",
        "ruff check",
        "lint-imports",
        "mypy",
        "tests.requirements",
        "pytest",
    ]
    places = [result.stdout.index(word) for word in expected]
    assert places == sorted(places)
