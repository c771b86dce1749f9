"""One server shared by many launchers: who keeps it, in what state it is, and who holds it.

A lease is a folder:

    mutex         locked by whoever reads and changes the rest; the kernel unlocks it when its owner dies
    lease.json    the keeper's pid and start time, version, fingerprint of the settings, state, address
    spec.json     what the keeper starts
    holders/      one file for each launcher: its pid and start time

Nothing in it is believed because it is there: a process counts only while it lives with the start time written down.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import psutil

JsonObject = dict[str, Any]
State = Literal["starting", "ready", "failed"]

# The start time of a process moves when the machine's clock is set; a pid is not used again that soon.
START_TOLERANCE_S = 30.0


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process, told apart from later ones with the same pid by its start time (seconds since the epoch)."""

    pid: int
    started_at: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Mark a running process. Raises `psutil.NoSuchProcess`."""
        return cls(pid, psutil.Process(pid).create_time())

    def matches(self, other: ProcessMark) -> bool:
        """Whether both mark the same process."""
        return self.pid == other.pid and abs(self.started_at - other.started_at) < START_TOLERANCE_S

    def process(self) -> psutil.Process | None:
        """The process while it runs; None when it ended, is a zombie, or its pid belongs to another."""
        try:
            process = psutil.Process(self.pid)
            same = self.matches(ProcessMark(process.pid, process.create_time()))
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process() is not None


@dataclass(frozen=True, slots=True)
class Lease:
    """What the keeper says about its server. `detail` explains `failed`; it is the server's own where it `refused`."""

    keeper: ProcessMark
    version: str
    fingerprint: str
    state: State = "starting"
    url: str | None = None
    server: ProcessMark | None = None
    detail: str | None = None
    refused: bool = False

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `asdict` wrote. Raises KeyError, TypeError or ValueError on anything else."""
        server = value.pop("server")
        return cls(keeper=ProcessMark(**value.pop("keeper")), server=ProcessMark(**server) if server else None, **value)


@dataclass(frozen=True, slots=True)
class LeaseFolder:
    """The lease on disk, readable by its user only."""

    path: Path

    def create(self) -> None:
        """Make the folder and its parents."""
        for folder in (self.path.parent, self.path, self._holders):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def mutex(self) -> Iterator[None]:
        """Exclusive among all processes. Blocks; what is done inside takes milliseconds, ending a server seconds."""
        if sys.platform == "win32":
            raise NotImplementedError("mlx-lm does not exist for Windows, so no server is started there")
        import fcntl

        descriptor = os.open(self.path / "mutex", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> Lease | None:
        """The lease as last written; None when there is none or it is not readable as one."""
        try:
            return Lease.from_json(json.loads((self.path / "lease.json").read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, lease: Lease) -> None:
        """Replace the lease as a whole: a reader sees the old one or the new one."""
        self._write("lease.json", asdict(lease))

    def remove(self) -> None:
        """There is no server any more."""
        (self.path / "lease.json").unlink(missing_ok=True)

    def read_spec(self) -> JsonObject:
        """What the keeper is to start."""
        value: JsonObject = json.loads((self.path / "spec.json").read_bytes())
        return value

    def write_spec(self, spec: JsonObject) -> None:
        """Leave word for the keeper."""
        self._write("spec.json", spec)

    def hold(self) -> Path:
        """Enter this process as a holder. The file returned is the hold; deleting it, or dying, lets go."""
        name = f"holders/{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        return self._write(name, asdict(ProcessMark.of(os.getpid())))

    def holders(self) -> list[ProcessMark]:
        """Everyone who holds the server now. Files of dead processes are deleted on the way."""
        alive = []
        for file in self._holders.iterdir():
            if file.suffix != ".json":
                continue
            mark = None
            with suppress(OSError, ValueError, TypeError):
                mark = ProcessMark(**json.loads(file.read_bytes()))
            if mark is not None and mark.alive:
                alive.append(mark)
            else:
                file.unlink(missing_ok=True)
        return alive

    @property
    def _holders(self) -> Path:
        return self.path / "holders"

    def _write(self, name: str, value: JsonObject) -> Path:
        target = self.path / name
        scratch = target.with_suffix(f".{uuid.uuid4().hex[:8]}.new")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file)
        scratch.replace(target)
        return target


def end_process(mark: ProcessMark, grace_s: float) -> None:
    """Ask a process to end; after `grace_s` end it."""
    process = mark.process()
    if process is None:
        return
    with suppress(psutil.Error):
        process.terminate()
        try:
            process.wait(grace_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(grace_s)
