"""A real JupyterLab in a folder of its own, and notebooks in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from anyclaude_lab.wire.events import JsonObject
from tests.browser.chromium import Opened
from tests.standins.http import kept_port

TOKEN = "for-this-test-alone"
START_DEADLINE_S = 240
# No dialog in front of the notebook, and every cell drawn, whether it can be seen or not.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
# The debugger asks every kernel for its state, and complains on the console where a page is closed meanwhile.
DISABLED = {"disabledExtensions": {"@jupyterlab/debugger-extension": True}}
READY = """(async () => {
  const session = window.jupyterapp.shell.currentWidget.context.sessionContext;
  await session.ready;
  await session.session.kernel.info;
})()"""
FLAGS = (
    "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
    f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True", "--ServerApp.terminals_enabled=False",
)  # fmt: skip


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """The address of a server that shows `folder / "notebooks"`; it and its kernels end with the block."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    page = folder / "config" / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(json.dumps(DISABLED))
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environ |= {**own, "HOME": str(folder), "IPYTHONDIR": str(folder / "ipython")}
    with ExitStack() as stack:
        port = stack.enter_context(kept_port())
        line = [sys.executable, "-m", "jupyterlab", *FLAGS, f"--ServerApp.port={port}"]
        log = stack.enter_context((folder / "server.log").open("wb"))
        server = subprocess.Popen(
            [*line, f"--ServerApp.root_dir={folder / 'notebooks'}"], env=environ, stdout=log, stderr=log
        )
        stack.callback(server.wait, START_DEADLINE_S)
        stack.callback(server.terminate)
        _until_it_answers(f"http://127.0.0.1:{port}", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}"


def _until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/api/status?token={TOKEN}", trust_env=False, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"JupyterLab does not answer: {log.read_text()[-2000:]}")


def write_notebook(file: Path, cells: Sequence[str]) -> None:
    """A notebook of those code cells, without outputs."""
    made: list[JsonObject] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": cell, "outputs": [], "execution_count": None}
        for n, cell in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    file.write_text(json.dumps({"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}))


async def run_all(shown: Opened, cells: int) -> None:
    """Run every cell of the notebook that is open, and wait for the last."""
    await shown.until("!!window.jupyterapp && !!document.querySelector('.jp-Notebook .jp-Cell')")
    await shown.page.evaluate(READY)
    await shown.page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")
    await shown.until(f"document.querySelectorAll('.jp-InputPrompt')[{cells - 1}]?.textContent === '[{cells}]:'")


async def change_theme(shown: Opened, dark: bool) -> None:
    """JupyterLab's own theme, whatever the system's is."""
    theme = "JupyterLab Dark" if dark else "JupyterLab Light"
    await shown.page.evaluate(f"void window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    await shown.until(f"document.body.dataset.jpThemeLight === '{str(not dark).lower()}'")
