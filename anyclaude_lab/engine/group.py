"""The ranks of one model on several machines: started together, watched, and started again when one is lost.

    python -m anyclaude_lab.engine.group ORDER [ARGUMENT OF MLX-LM...]

ORDER is the JSON of an `Order`.

Ranks on this machine are child processes, those on others run behind ssh; each ends with this process, however that
ends (see `rank.py`). mlx's ring cannot be rejoined, so losing one rank ends them all; one that hangs is lost as well.
Ring messages are plain TCP without a key: for networks of your own only.
"""

from __future__ import annotations

import json
import queue
import shlex
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Self

from anyclaude_lab.engine.rank import ALIVE, JOINED, MOVED
from anyclaude_lab.errors import printable

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
STARTING_PORT = 32323  # mlx.launch's
LOOK_S = 0.1
SILENT_S = 10.0  # a machine whose ten signs of life are missing hangs
STALLED_S = 300.0  # longer than a step of prefill takes, and no longer than the proxy lets an answer pause
LATE_S = 2.0  # a look that is so late says nothing of ranks: it is this machine that slept
LAST_WORDS_S = 0.5  # what a rank that ended has still to be heard
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
FAILED_JOINS = 5  # in a row: then it is given up
# A machine that vanishes is noticed by the fourth unanswered question, after 4 s.
SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=1")
SSH_OPTIONS = (*SSH, "-o", "ServerAliveCountMax=3", "-o", "LogLevel=ERROR")


@dataclass(frozen=True, slots=True)
class Host:
    """One machine, as in mlx's host files: its name for ssh, its addresses, its RDMA device to each other one."""

    ssh: str
    ips: tuple[str, ...]
    rdma: tuple[str | None, ...] = ()

    @property
    def here(self) -> bool:
        return self.ssh in THIS_MACHINE


@dataclass(frozen=True, slots=True)
class Order:
    """What to start: mlx-lm with `arguments`. `python` is the interpreter's path, the same on every machine."""

    hosts: tuple[Host, ...]
    arguments: tuple[str, ...]
    jaccl: bool = False
    starting_port: int | None = None
    join_s: float = 60.0
    python: str = sys.executable

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `text` made."""
        value = json.loads(text)
        hosts = tuple(Host(host["ssh"], tuple(host["ips"]), tuple(host["rdma"])) for host in value.pop("hosts"))
        return cls(hosts=hosts, arguments=tuple(value.pop("arguments")), **value)

    def text(self) -> str:
        """The order as JSON."""
        return json.dumps(asdict(self))


class Lost(Exception):
    """A rank ended, or did not join. `joined`: all of them had."""

    def __init__(self, why: str, *, joined: bool) -> None:
        super().__init__(why)
        self.joined = joined


@dataclass(slots=True)
class Rank:
    """One running rank."""

    number: int
    host: Host
    process: subprocess.Popen[bytes]
    heard: queue.SimpleQueue[str]
    hearing: threading.Thread
    joined: bool = False
    last_line: str = ""
    heard_at: float = 0.0
    moved_at: float | None = None  # None: it has not exchanged anything yet; it may be loading its model

    def look(self, now: float) -> None:
        """Note what it said."""
        while not self.heard.empty():
            line = self.heard.get()
            self.heard_at = now
            if line == JOINED:
                self.joined = True
            elif line == MOVED:
                self.moved_at = now
            elif line and line != ALIVE:
                self.last_line = line

    @property
    def name(self) -> str:
        return f"Rank {self.number} ({self.host.ssh})"


@dataclass(slots=True)
class Group:
    """All ranks of one order."""

    order: Order
    ranks: list[Rank] = field(default_factory=list)
    _looked_at: float = 0.0

    def serve(self) -> None:
        """Run until a rank is lost. Raises `Lost`."""
        try:
            self._start()
            deadline = time.monotonic() + self.order.join_s
            while not all(rank.joined for rank in self.ranks):
                self._look(joined=False)
                if time.monotonic() > deadline:
                    raise Lost(self._missing(), joined=False)
                time.sleep(LOOK_S)
            say(f"all {len(self.ranks)} ranks have joined")
            while True:
                self._look(joined=True)
                self._refuse_hanging()
                time.sleep(LOOK_S)
        finally:
            self._end()

    def _start(self) -> None:
        order = self.order
        files, environment = meeting(order)
        for number, host in enumerate(order.hosts):
            told = json.dumps({"rank": number, "files": files, "arguments": order.arguments})
            variables = (f"{name}={value}" for name, value in environment.items())
            command = ["env", *variables, order.python, "-P", "-m", "anyclaude_lab.engine.rank", told]
            if not host.here:
                command = [*SSH_OPTIONS, host.ssh, f"exec {shlex.join(command)}"]
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
            except OSError as error:
                raise Lost(f"Rank {number} ({host.ssh}) cannot be started: {error}", joined=False) from None
            heard: queue.SimpleQueue[str] = queue.SimpleQueue()
            assert process.stdout is not None
            hearing = threading.Thread(target=_hear, args=(process.stdout, number, heard), daemon=True)
            hearing.start()
            self.ranks.append(Rank(number, host, process, heard, hearing))

    def _look(self, *, joined: bool) -> None:
        now = time.monotonic()
        for rank in self.ranks:
            code = rank.process.poll()
            if code is not None:
                rank.hearing.join(LAST_WORDS_S)
            rank.look(now)
            if code is None:
                continue
            when = "was lost" if joined else "ended before it joined"
            last = f": {rank.last_line}" if rank.last_line and not joined else ""
            raise Lost(f"{rank.name} {when} (exit code {code}){last}", joined=joined)

    def _refuse_hanging(self) -> None:
        """Raise `Lost` where a machine is silent, or where all ranks wait for each other."""
        now = time.monotonic()
        late, self._looked_at = now - self._looked_at > LATE_S, now
        moves = [rank.moved_at for rank in self.ranks]
        for rank in self.ranks:
            if late:
                rank.heard_at, rank.moved_at = now, rank.moved_at and now
            elif now - rank.heard_at > SILENT_S:
                raise Lost(f"{rank.name} hangs: nothing was heard of it for {SILENT_S:g} s", joined=True)
        if not late and all(moves) and now - max(filter(None, moves)) > STALLED_S:
            raise Lost(f"All ranks hang: they have exchanged nothing for {STALLED_S:g} s", joined=True)

    def _missing(self) -> str:
        """The sentence about a rank that never joined: the one that is not on this machine, where there is one."""
        absent = [rank for rank in self.ranks if not rank.joined]
        named = next((rank for rank in absent if not rank.host.here), absent[-1])
        return (
            f"{named.name} did not join within {self.order.join_s:g} s: see that {', '.join(named.host.ips)} can be "
            f"reached from the other machines, and that {self.order.python} with mlx-lm and the model are there"
        )

    def _end(self) -> None:
        """End every rank: at once, because one that waits for another hears nothing."""
        for rank in self.ranks:
            if rank.process.stdin is not None:
                rank.process.stdin.close()  # ends it on its machine
        for rank in self.ranks:
            try:
                rank.process.wait(2.0)
            except subprocess.TimeoutExpired:
                rank.process.kill()
                rank.process.wait()
        self.ranks.clear()


def meeting(order: Order) -> tuple[dict[str, str], dict[str, str]]:
    """How the ranks find each other: the files and variables that mlx reads. Source: mlx's `mlx.launch`."""
    if order.jaccl:
        port = order.starting_port or STARTING_PORT
        devices = json.dumps([host.rdma for host in order.hosts])
        return {"MLX_IBV_DEVICES": devices}, {"MLX_JACCL_COORDINATOR": f"{order.hosts[0].ips[0]}:{port}"}
    count = sum(len(host.ips) for host in order.hosts)
    if order.starting_port is None and all(host.here for host in order.hosts):
        ports = _free_ports(count)
    else:
        first = order.starting_port or STARTING_PORT
        ports = list(range(first, first + count))
    free = iter(ports)
    ring = [[f"{ip}:{next(free)}" for ip in host.ips] for host in order.hosts]
    return {"MLX_HOSTFILE": json.dumps(ring)}, {}


def keep_serving(order: Order) -> str:
    """Serve, and start again what was lost. Returns why, where it cannot be started, or not any more."""
    failed, most = 0, 1  # a first start that fails is a mistake; later a machine may be starting itself
    while True:
        try:
            Group(order).serve()
        except Lost as lost:
            failed = 0 if lost.joined else failed + 1
            most = FAILED_JOINS if lost.joined else most
            if failed >= most:
                return str(lost)
            say(f"{lost}; the group is started again")
            time.sleep(min(FIRST_PAUSE_S * 2**failed, LONGEST_PAUSE_S))


def say(sentence: str) -> None:
    """Into the log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} group: {sentence}", flush=True)


def _hear(stream: IO[bytes], number: int, heard: queue.SimpleQueue[str]) -> None:
    for line in stream:
        text = printable(line.decode(errors="replace").rstrip())
        sign = next((sign for sign in (JOINED, ALIVE, MOVED) if text.endswith(sign)), "")
        for part in filter(None, (text.removesuffix(sign), sign)):  # a sign may stand behind half a line of mlx-lm's
            heard.put(part)
        if text != sign:
            print(f"rank {number}: {text.removesuffix(sign)}", flush=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    read = Order.read(sys.argv[1])
    say(keep_serving(replace(read, arguments=(*read.arguments, *sys.argv[2:]))))
    sys.exit(2)
