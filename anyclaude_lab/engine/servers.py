"""A model server that is started for the user, shared by all launches of the same settings, and ended with the last.

    async with shared_server(spec, run_dir=..., log_dir=...) as server:     # milliseconds: it only takes hold
        running = await server.running(timeout_s=120)                       # waits until it really answers

The server belongs to a keeper (`keeper.py`), so that it outlives the launcher that happened to start it. A launcher
that dies, by `kill -9` too, counts as gone. A server that crashed is reported to the request that meets it, with the
end of its log, and is started again for the next one.
"""

from __future__ import annotations

import asyncio
import math
import os
import site
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from anyclaude_lab import __version__
from anyclaude_lab.engine.lease import JsonObject, Lease, LeaseFolder, ProcessMark, end_process
from anyclaude_lab.engine.spec import ServerSpec
from anyclaude_lab.errors import AnyclaudeError, BackendUnavailable, SettingsError

GRACE_S = 10.0
RESTART_AFTER_S = 10.0  # a model that does not fit must not be loaded again and again by whoever asks for its health
POLL_S = 0.05
LEFTOVER_GRACE_S = 5.0
RETRY_AFTER_S = 5

# A model server has no use for them.
SECRET_PREFIXES = ("ANTHROPIC_", "CLAUDE")
SECRET_SUFFIXES = ("_API_KEY", "_AUTH_TOKEN", "_OAUTH_TOKEN", "_ACCESS_TOKEN", "_SESSION_TOKEN", "_SECRET_ACCESS_KEY")

# Keepers this process started; kept so that they are waited for when they end.
_keepers: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `url` has no path; `reused`: another launcher had started it."""

    url: str
    model_name: str
    log_path: Path
    reused: bool


@dataclass(slots=True)
class SharedServer:
    """This launcher's hold on a server. Made by `shared_server`."""

    spec: ServerSpec
    folder: LeaseFolder
    log_path: Path
    grace_s: float
    restart_after_s: float
    _hold: Path | None = None
    _joined_at: float = 0.0
    _started: ProcessMark | None = None  # the keeper we started; None: we joined another's

    async def running(self, timeout_s: float | None = None) -> Running:
        """The server once it answers.

        Raises BackendUnavailable when it is still starting after `timeout_s` (None: wait as long as its start may
        take), and when it failed: with the reason, the end of its log, and when to ask again. Raises SettingsError
        with its own sentence where it said that it cannot serve this model.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            lease = self.folder.read()
            if lease is None or lease.state == "failed" or not lease.keeper.alive:
                raise await self._failed(lease)
            if lease.state == "ready" and lease.url:
                return Running(lease.url, self.spec.model_name, self.log_path, self._reused(lease))
            if deadline is not None and time.monotonic() >= deadline:
                still = f"{self.spec.engine} is still loading its model. What it does: {self.log_path}"
                raise BackendUnavailable(still, retry_after_s=RETRY_AFTER_S)
            await asyncio.sleep(POLL_S)

    async def _failed(self, lease: Lease | None) -> AnyclaudeError:
        """The error that says why; orders a new start unless the last one was just now."""
        why = lease.detail if lease and lease.detail else f"{self.spec.engine} ended unexpectedly."
        wait_s = self._joined_at + self.restart_after_s - time.monotonic()
        if lease is not None and lease.refused:
            if wait_s <= 0:  # the user may have mended it
                await asyncio.to_thread(self._join)
            return SettingsError(why)
        if wait_s > 0:
            wait_s = math.ceil(wait_s)
            return BackendUnavailable(f"{why}\nIt is started again in {wait_s} s.", retry_after_s=wait_s)
        await asyncio.to_thread(self._join)
        return BackendUnavailable(f"{why}\nIt is being started again.", retry_after_s=RETRY_AFTER_S)

    def status(self) -> JsonObject:
        """For health and dashboard: `state` (starting, ready, failed), `url`, `log`, `detail`. Reads one small file."""
        lease = self.folder.read()
        alive = lease is not None and lease.keeper.alive
        state = lease.state if lease and (alive or lease.state == "failed") else "failed"
        detail = lease.detail if lease else None
        return {
            "engine": self.spec.engine,
            "state": state,
            "url": lease.url if lease else None,
            "log": str(self.log_path),
            "detail": detail,
        }

    def _reused(self, lease: Lease) -> bool:
        return self._started is None or not self._started.matches(lease.keeper)

    def _join(self) -> None:
        """Take hold, and have the server started if nobody has. Blocks while another launcher does the same."""
        self.folder.create()
        self._joined_at = time.monotonic()
        with self.folder.mutex():
            if self._hold is None or not self._hold.exists():
                self._hold = self.folder.hold()
            lease = self.folder.read()
            if lease is None or lease.state == "failed" or not lease.keeper.alive:
                if lease is not None and lease.server is not None:
                    end_process(lease.server, LEFTOVER_GRACE_S)
                self._start_keeper()

    def _start_keeper(self) -> None:
        order = {"spec": self.spec.as_json(), "log": str(self.log_path), "grace_s": self.grace_s}
        self.folder.write_spec(order)
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "anyclaude_lab.engine.keeper", str(self.folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=keeper_environment(os.environ),
            cwd=self.folder.path,
            start_new_session=True,  # Ctrl-C and the end of the terminal are not for the keeper
        )
        _keepers.append(keeper)
        for ended in [each for each in _keepers if each.poll() is not None]:
            _keepers.remove(ended)
        self._started = ProcessMark.of(keeper.pid)
        self.folder.write(Lease(self._started, __version__, self.spec.fingerprint))

    def _let_go(self) -> None:
        if self._hold is not None:
            with suppress(OSError):
                self._hold.unlink()


@asynccontextmanager
async def shared_server(
    spec: ServerSpec,
    *,
    run_dir: Path,
    log_dir: Path,
    grace_s: float = GRACE_S,
    restart_after_s: float = RESTART_AFTER_S,
) -> AsyncIterator[SharedServer]:
    """Hold the server of `spec`, started if it does not run yet, until the block is left.

    Entering does not wait for the server. After the last holder left or died it is ended `grace_s` seconds later.
    """
    name = f"{spec.engine}-{spec.fingerprint[:12]}"
    server = SharedServer(spec, LeaseFolder(run_dir / name), log_dir / f"{name}.log", grace_s, restart_after_s)
    try:
        await asyncio.to_thread(server._join)
        yield server
    finally:
        server._let_go()


def keeper_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The launcher's environment without credentials, and with a way to import this package."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(SECRET_PREFIXES) and not name.endswith(SECRET_SUFFIXES)
    }
    root = str(Path(__file__).resolve().parents[2])
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept
