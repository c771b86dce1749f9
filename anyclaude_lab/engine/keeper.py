"""The keeper: starts one model server, ends it when nobody holds it any more, and then ends itself.

    python -m anyclaude_lab.engine.keeper FOLDER

It belongs to no launcher, so that any of them may die. It watches the lease in FOLDER (see `lease.py`): the last
holder gone for the grace ends the server; the server gone, or not answering in time, ends the lease with the reason.
A keeper that dies takes the server along (see `tether.py`).
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from anyclaude_lab.engine.lease import Lease, LeaseFolder, ProcessMark
from anyclaude_lab.engine.spec import PORT, ServerSpec

POLL_S, START_POLL_S = 0.5, 0.05
END_GRACE_S = 5.0
LOG_CAP_BYTES = 50_000_000
TAIL_LINES, TAIL_BYTES = 12, 4000


@dataclass(slots=True)
class FirstAnswer:
    """Asks a starting server until it answers. `ready` or `refusal` is set from the asking thread."""

    spec: ServerSpec
    port: int
    ready: bool = False
    refusal: str | None = None
    _deadline: float = field(init=False)

    def start(self) -> None:
        """Begin to ask, in a thread of its own: a server that loads its model may leave the question open for long."""
        self._deadline = time.monotonic() + self.spec.startup_timeout_s
        threading.Thread(target=self._ask, name="first answer", daemon=True).start()

    @property
    def late(self) -> bool:
        """Whether the time for it is over."""
        return time.monotonic() > self._deadline

    def _ask(self) -> None:
        while not self.late:
            try:
                status, text = self._exchange()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)  # not listening yet
                continue
            if status == 200:
                self.ready = True
            elif status == 503:  # loading, says llama.cpp's family of servers
                time.sleep(0.5)
                continue
            else:
                self.refusal = f"it answered its first request with HTTP {status}: {text[:300]}"
            return

    def _exchange(self) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.spec.startup_timeout_s)
        try:
            if self.spec.ready_body is None:
                connection.request("GET", self.spec.ready_path)
            else:
                body = json.dumps(self.spec.ready_body)
                connection.request("POST", self.spec.ready_path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read(2000).decode(errors="replace")
        finally:
            connection.close()


@dataclass(slots=True)
class Keeper:
    """One server and its lease, from start to end."""

    folder: LeaseFolder
    spec: ServerSpec
    log_path: Path
    grace_s: float
    me: ProcessMark = field(default_factory=lambda: ProcessMark.of(os.getpid()))
    _ready: bool = False
    _refused: bool = False

    def keep(self) -> None:
        """Start the server, stay as long as it is held, end it."""
        port = self.spec.port or free_port()
        with open_log(self.log_path) as log:
            self._say(log, f"starting {self.spec.engine} on port {port}", *self.spec.remarks)
            server = self._start(port, log)
            answer = FirstAnswer(self.spec, port)
            answer.start()
            self._write(server=ProcessMark.of(server.pid), url=f"http://127.0.0.1:{port}")
            reason = self._watch(server, answer)
            while not self._ended(server, reason):
                reason = self._watch(server, answer)
            self._say(log, reason or f"ended {self.spec.engine}: nobody used it")

    def _watch(self, server: subprocess.Popen[bytes], answer: FirstAnswer) -> str | None:
        """Until nobody has held the server for the grace (None), or it cannot serve any more (why)."""
        last_held = time.monotonic()
        while True:
            code = server.poll()
            if code is not None:
                self._refused = not self._ready and code == self.spec.refusal_code
                return f"{self.spec.engine} ended{'' if self._ready else ' while starting'} with {exit_words(code)}."
            if not self._ready:
                if answer.refusal:
                    return f"{self.spec.engine} cannot serve this model: {answer.refusal}."
                if answer.ready:
                    self._ready = True
                    self._write(state="ready")
                elif answer.late:
                    return f"{self.spec.engine} did not answer within {self.spec.startup_timeout_s:g} s of its start."
            if self.folder.holders() and self._lease() is not None:
                last_held = time.monotonic()
            elif time.monotonic() - last_held >= self.grace_s:
                return None
            cap_log(self.log_path)
            time.sleep(POLL_S if self._ready else START_POLL_S)

    def _ended(self, server: subprocess.Popen[bytes], reason: str | None) -> bool:
        """End server and lease, unless all is well and somebody joined at the last moment.

        All under the mutex: the next starter waits, so that two big models are never in memory at once.
        """
        with self.folder.mutex():
            ours = self._lease()
            if reason is None and ours and self.folder.holders():
                return False
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(END_GRACE_S)
            server.kill()
            server.wait()
            if ours and reason:
                last = tail(self.log_path)
                detail = f"{reason}\nLast lines of {self.log_path}:\n{last}"
                if self._refused and last:
                    detail = last.splitlines()[-1]
                self.folder.write(replace(ours, state="failed", detail=detail, refused=self._refused))
            elif ours:
                self.folder.remove()
            return True

    def _lease(self) -> Lease | None:
        """Our lease; None when somebody judged us dead and began anew."""
        lease = self.folder.read()
        return lease if lease and lease.keeper.matches(self.me) else None

    def _write(self, **changes: Any) -> None:
        with self.folder.mutex():
            if lease := self._lease():
                self.folder.write(replace(lease, **changes))

    def _start(self, port: int, log: BinaryIO) -> subprocess.Popen[bytes]:
        arguments = [str(port) if argument == PORT else argument for argument in self.spec.arguments]
        command = [sys.executable, "-P", "-m", "anyclaude_lab.engine.tether", self.spec.program, *arguments]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **dict(self.spec.environment)},
            cwd=self.folder.path,
        )

    def _say(self, log: BinaryIO, *lines: str) -> None:
        for line in lines:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} keeper {self.me.pid}: {line}\n".encode())
        log.flush()


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def open_log(path: Path) -> BinaryIO:
    """Append to a log that only its user can read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def cap_log(path: Path, cap_bytes: int = LOG_CAP_BYTES) -> None:
    """Move a full log aside and go on with an empty one. The server keeps its file open, so the content moves."""
    with suppress(OSError):
        if path.stat().st_size > cap_bytes:
            aside = path.with_suffix(".1.log")
            with open_log(aside) as file:
                file.truncate(0)
                file.write(path.read_bytes()[-cap_bytes:])
            os.truncate(path, 0)


def tail(path: Path) -> str:
    """The last lines of a log."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-TAIL_LINES:])
    return ""


def exit_words(code: int) -> str:
    """`exit code 3`, or `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def main(argv: list[str]) -> None:
    """Keep what the folder asks for."""
    folder = LeaseFolder(Path(argv[0]))
    # The starter writes the lease after it started us, all under the mutex; without one it died in between.
    with folder.mutex():
        lease, order = folder.read(), folder.read_spec()
    keeper = Keeper(folder, ServerSpec.from_json(order["spec"]), Path(order["log"]), order["grace_s"])
    if lease is not None and lease.keeper.matches(keeper.me):
        keeper.keep()


if __name__ == "__main__":
    main(sys.argv[1:])
