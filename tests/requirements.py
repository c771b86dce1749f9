"""What a test needs beyond Python packages, and what happens when it is missing.

A missing client, terminal, engine or browser skips the test; with `REQUIRE_ALL=1` it fails it.
`ANYCLAUDE_TEST_CLIENTS` names the folder of installed Claude Code releases, one subfolder a release; by default a
folder of ours below the system's temporary one.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock

INSTALL_DEADLINE_S = 600
# npm may need the proxy and the registry of the surrounding shell, which tests are run without.
SHELL_ENVIRONMENT = dict(os.environ)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def missing(what: str) -> NoReturn:
    """Skip the running test because `what` is missing; fail it where everything is required."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"required, but missing: {what}", pytrace=False)
    pytest.skip(f"missing: {what}")


def clients_folder() -> Path:
    """Where the releases of Claude Code are installed."""
    given = os.environ.get("ANYCLAUDE_TEST_CLIENTS")
    return Path(given) if given else Path(tempfile.gettempdir()) / "anyclaude-test-clients"


def require_claude(version: str) -> Path:
    """The `claude` program of that release, installed from npm on first use; parallel tests install it once."""
    folder = clients_folder() / version
    program = folder / "node_modules" / ".bin" / "claude"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        missing("npm, which installs Claude Code")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock"), timeout=INSTALL_DEADLINE_S):
        if not program.exists():
            _install(npm, version, folder)
    if not program.exists():
        missing(f"Claude Code {version}: npm could not install it into {folder}")
    return program


def _install(npm: str, version: str, folder: Path) -> None:
    package = f"@anthropic-ai/claude-code@{version}"
    # Installed beside and moved into place, so that an interrupted install never looks complete.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [npm, "install", "--prefix", scratch, "--no-audit", "--no-fund", "--loglevel=error", package]
        done = subprocess.run(command, env=SHELL_ENVIRONMENT, capture_output=True, timeout=INSTALL_DEADLINE_S)
        if done.returncode == 0:
            shutil.copytree(scratch, folder, symlinks=True, dirs_exist_ok=True)


def require_tmux() -> Path:
    return _program(("tmux",), "tmux")


def require_chromium() -> Path:
    return _program(CHROMIUM_NAMES, "Chromium")


def require_mlx() -> None:
    """mlx and mlx-lm, importable on this machine."""
    for module in ("mlx.core", "mlx_lm"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            missing(f"{module}: {error}")


def _program(names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    missing(what)
