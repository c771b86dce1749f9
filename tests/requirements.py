"""What a test needs beyond Python packages, and what happens when it is missing.

A missing client, terminal, engine or browser skips the test; with `REQUIRE_ALL=1` it fails it.
`ANYCLAUDE_TEST_CLIENTS` names the folder of installed Claude Code releases, one subfolder a release; by default a
folder of ours below the system's temporary one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock

INSTALL_DEADLINE_S = 600
# npm may need the proxy and the registry of the surrounding shell, which tests are run without.
SHELL_ENVIRONMENT = dict(os.environ)
AXE = "4.14.1"
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
    return _claude(version) or missing(f"Claude Code {version}, which npm installs")


def require_axe() -> Path:
    """The script of axe-core (deque.com/axe), which judges whether a page can be used by everybody."""
    return _axe() or missing(f"axe-core {AXE}, which npm installs")


@cache  # a failed installation is not tried again by the next test
def _claude(version: str) -> Path | None:
    return _from_npm(f"@anthropic-ai/claude-code@{version}", version, ".bin/claude")


@cache
def _axe() -> Path | None:
    return _from_npm(f"axe-core@{AXE}", f"axe-core-{AXE}", "axe-core/axe.min.js")


def _from_npm(package: str, name: str, file: str) -> Path | None:
    """A file of an npm package, installed into a folder of that name where it is not there yet."""
    folder = clients_folder() / name
    wanted = folder / "node_modules" / file
    npm = shutil.which("npm")
    if not wanted.exists() and npm is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{name}.lock", timeout=INSTALL_DEADLINE_S):
            if not wanted.exists():
                _install(npm, package, folder)
    return wanted if wanted.exists() else None


def _install(npm: str, package: str, folder: Path) -> None:
    # Installed beside and renamed into place: the folder is there whole or not at all.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        beside = Path(scratch, folder.name)
        command = [npm, "install", "--prefix", str(beside), "--no-audit", "--no-fund", "--loglevel=error", package]
        try:
            done = subprocess.run(command, env=SHELL_ENVIRONMENT, capture_output=True, timeout=INSTALL_DEADLINE_S)
        except subprocess.TimeoutExpired:
            return
        if done.returncode != 0:
            print(done.stderr.decode(errors="replace"), file=sys.stderr)
            return
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)


def require_tmux() -> Path:
    return _program(("tmux",), "tmux")


def require_openssl() -> Path:
    return _program(("openssl",), "openssl")


def require_chromium() -> Path:
    return _program(CHROMIUM_NAMES, "Chromium")


def require_mlx() -> None:
    """mlx and mlx-lm, importable on this machine."""
    for module in ("mlx.core", "mlx_lm"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            missing(f"{module}: {error}")


def require_atheris() -> None:
    """The fuzzer, which there is for Linux on x86-64 alone."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("atheris is for Linux on x86-64")
    if importlib.util.find_spec("atheris") is None:
        missing("atheris")


def require_ray() -> None:
    """Ray, importable on this machine."""
    if importlib.util.find_spec("ray") is None:
        missing("ray: pip install 'anyclaude-lab[ray]'")


def _program(names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    missing(what)


def install_clients() -> None:
    """Install every release that the tests drive, and axe-core, before any test's clock runs."""
    from tests.e2e.claude_code import RELEASES
    from tests.prompt.live import RECORDED

    for version in dict.fromkeys((*RELEASES, *RECORDED)):
        if _claude(version) is None:
            print(f"Claude Code {version} could not be installed; its tests skip, or fail with REQUIRE_ALL=1")
    if _axe() is None:
        print(f"axe-core {AXE} could not be installed; its tests skip, or fail with REQUIRE_ALL=1")


if __name__ == "__main__":
    install_clients()
