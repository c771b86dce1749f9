"""What importing costs, and that it works where POSIX is not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "anyclaude_lab"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Modules and names that Python does not have on Windows. Source: the "Availability" notes of its library reference.
POSIX_MODULES = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "readline", "curses", "posix"}
POSIX_NAMES = {
    "os": "fork forkpty getuid geteuid getgid getpgid getpgrp setsid killpg uname chown mkfifo O_CLOEXEC O_NOFOLLOW "
    "O_DIRECTORY O_NONBLOCK WNOHANG WIFEXITED sched_getaffinity getloadavg",
    "signal": "SIGKILL SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGTSTP SIGWINCH SIGPIPE alarm setitimer",
    "socket": "AF_UNIX SO_REUSEPORT",
}
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
    "psutil",
    "tiktoken",
    "IPython",
    "ipywidgets",
    "anywidget",
}
# Everything the package may import has its POSIX names by then; what is left to need them is the package itself.
MLX_ONLY = "anyclaude_lab.engine.serve."  # mlx does not exist there either
IMPORT_ALL_WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, socket, sys
import aiohttp.web, asyncio, concurrent.futures, httpx, logging.handlers, multiprocessing, prometheus_client, psutil
import anywidget, ipywidgets, pandas, shutil, subprocess, tempfile
for name in {modules!r}:
    sys.modules[name] = None
for module, names in {names!r}.items():
    for name in names.split():
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
import {package}
for found in pkgutil.walk_packages({package}.__path__, "{package}."):
    if not found.name.endswith("__main__") and not found.name.startswith({mlx_only!r}):
        importlib.import_module(found.name)
        print(found.name)
"""


def run(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=600)


def import_all_without_posix(package: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = IMPORT_ALL_WITHOUT_POSIX.format(modules=POSIX_MODULES, names=POSIX_NAMES, package=package, mlx_only=MLX_ONLY)
    return run(code, folder)


def imported_at_once(source: str) -> set[str]:
    """The top-level packages that importing a module imports, wherever the statement stands outside of functions."""
    return {name.partition(".")[0] for name in _imports(ast.parse(source))}


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child)


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_needs_posix_to_be_imported(module: Path) -> None:
    assert not imported_at_once(module.read_text("utf-8")) & POSIX_MODULES


@pytest.mark.parametrize(
    "source",
    [
        "import os, fcntl.x",
        "from fcntl import flock",
        "try:\n    import fcntl\nexcept ImportError:\n    pass",
        "class A:\n    import fcntl",
        "import sys\nif sys.platform != 'win32':\n    import fcntl",
    ],
)
def test_the_posix_check_sees_a_planted_import(source: str) -> None:
    assert imported_at_once(source) & POSIX_MODULES == {"fcntl"}


def test_the_posix_check_passes_what_is_late() -> None:
    late = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fcntl\ndef f():\n    import pwd"
    assert not imported_at_once(late) & POSIX_MODULES


def test_every_module_imports_where_posix_is_not() -> None:
    result = import_all_without_posix("anyclaude_lab", PACKAGE.parent)
    assert result.returncode == 0, result.stderr
    expected = {
        ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for module in MODULES
        if module.name != "__main__.py"
    }
    expected = {name for name in expected if not name.startswith(MLX_ONLY)}
    assert set(result.stdout.split()) == expected - {"anyclaude_lab"}


@pytest.mark.parametrize(
    "line",
    ["import termios", "import signal\ndef end(number=signal.SIGKILL): ...", "from os import killpg"],
)
def test_the_import_of_everything_sees_a_planted_need(tmp_path: Path, line: str) -> None:
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "__init__.py").touch()
    (tmp_path / "planted" / "module.py").write_text(line)
    assert import_all_without_posix("planted", tmp_path).returncode != 0


def test_starting_the_proxy_loads_nothing_heavy() -> None:
    started = "__main__, server, serving, log"
    result = run(
        f"import json, sys; from anyclaude_lab.proxy import {started}; from anyclaude_lab import compose;"
        "print(json.dumps(sorted(sys.modules)))",
        PACKAGE.parent,
    )
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert "aiohttp" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("use", "last_line"),
    [
        ("from anyclaude_lab.cli import main; sys.exit(main(['breaks', 'traces']))", "anyclaude-bench: {}"),
        ("import anyclaude_lab; anyclaude_lab.load", "anyclaude_lab.errors.SettingsError: {}"),
        ("import anyclaude_lab; anyclaude_lab.plots", "anyclaude_lab.errors.SettingsError: {}"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(use: str, last_line: str) -> None:
    said = run(f"import sys; sys.modules['pandas'] = None; {use}", PACKAGE.parent).stderr.splitlines()
    assert said[-1] == last_line.format("This needs pandas, which is not installed: pip install 'anyclaude-lab[lab]'.")
    assert len(said) == 1 or "Error" in last_line
