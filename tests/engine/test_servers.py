"""Shared servers: one for all launchers, ended with the last of them, whatever kills whom."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from anyclaude_lab.engine.keeper import cap_log
from anyclaude_lab.engine.lease import Lease, LeaseFolder, ProcessMark
from anyclaude_lab.engine.servers import SharedServer, keeper_environment, shared_server
from anyclaude_lab.engine.spec import PORT, ServerSpec
from anyclaude_lab.errors import BackendUnavailable, SettingsError
from tests.processes import DEADLINE_S, gone, until

FAKE = str(Path(__file__).with_name("fake_server.py"))

HOLDER = """
import asyncio, json, sys
from pathlib import Path
from anyclaude_lab.engine.servers import shared_server
from anyclaude_lab.engine.spec import ServerSpec

async def main():
    spec = ServerSpec.from_json(json.loads(sys.argv[1]))
    run_dir, log_dir, grace_s = Path(sys.argv[2], "run"), Path(sys.argv[2], "logs"), float(sys.argv[3])
    async with shared_server(spec, run_dir=run_dir, log_dir=log_dir, grace_s=grace_s) as server:
        running = await server.running()
        print(json.dumps({"url": running.url, "reused": running.reused}), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
        status: int = response.status
        return status


@dataclass
class Bench:
    """A run folder, a log folder, and the processes that must not outlive the test."""

    path: Path
    others: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def loads(self) -> list[int]:
        """The pid of every server that was started, in order."""
        file = self.path / "loads"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    @property
    def folder(self) -> LeaseFolder:
        (found,) = (self.path / "run").iterdir()
        return LeaseFolder(found)

    @property
    def lease(self) -> Lease:
        lease = self.folder.read()
        assert lease is not None
        return lease

    def spec(self, behaviour: str = "", startup_timeout_s: float = DEADLINE_S) -> ServerSpec:
        arguments = (PORT, str(self.path / "loads"), behaviour)
        return ServerSpec("fake", FAKE, arguments, "fake-model", "/", startup_timeout_s=startup_timeout_s)

    def share(
        self, spec: ServerSpec, grace_s: float = 0.2, restart_after_s: float = 0.0
    ) -> AbstractAsyncContextManager[SharedServer]:
        run_dir, log_dir = self.path / "run", self.path / "logs"
        return shared_server(spec, run_dir=run_dir, log_dir=log_dir, grace_s=grace_s, restart_after_s=restart_after_s)

    def start_holder(self, spec: ServerSpec, grace_s: float = 0.2) -> subprocess.Popen[str]:
        """A launcher in a process of its own."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, json.dumps(spec.as_json()), str(self.path), str(grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.others.append(holder)
        return holder

    def all_ended(self) -> bool:
        leases = [LeaseFolder(folder).read() for folder in (self.path / "run").iterdir()]
        return all(map(gone, self.loads)) and not any(lease and lease.keeper.alive for lease in leases)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for other in bench.others:
        other.kill()
        other.wait()
        for pipe in (other.stdin, other.stdout):
            if pipe:
                pipe.close()
    if (tmp_path / "run").exists():
        until(bench.all_ended, "keeper and server end after their holders")


def told(holder: subprocess.Popen[str]) -> dict[str, object]:
    assert holder.stdout is not None
    value: dict[str, object] = json.loads(holder.stdout.readline())
    return value


async def test_server_answers_and_ends_with_its_last_holder(bench: Bench) -> None:
    async with bench.share(bench.spec()) as server:
        running = await server.running()
        assert get(running.url) == 200
        assert (running.model_name, running.reused) == ("fake-model", False)
        assert server.status()["state"] == "ready"
        (pid,) = bench.loads
    until(lambda: gone(pid), "the server ends")
    until(lambda: bench.folder.read() is None, "the lease is gone")


async def test_second_holder_joins_the_server_and_keeps_it(bench: Bench) -> None:
    async with bench.share(bench.spec()) as first, bench.share(bench.spec()) as second:
        one, two = await first.running(), await second.running()
        assert one.url == two.url
        assert len(bench.loads) == 1
        first._let_go()
        await asyncio.sleep(1.5)  # longer than grace and poll
        assert get(two.url) == 200


async def test_launches_at_the_same_instant_start_one_server(bench: Bench) -> None:
    holders = [bench.start_holder(bench.spec()) for _ in range(3)]
    answers = [told(holder) for holder in holders]
    assert len({answer["url"] for answer in answers}) == 1
    assert sorted(bool(answer["reused"]) for answer in answers) == [False, True, True]
    assert len(bench.loads) == 1


async def test_killed_starter_leaves_the_server_to_the_others_and_the_last_kill_ends_it(bench: Bench) -> None:
    starter = bench.start_holder(bench.spec())
    told(starter)
    other = bench.start_holder(bench.spec())
    url = str(told(other)["url"])
    starter.kill()
    starter.wait()
    until(lambda: len(bench.folder.holders()) == 1, "the killed holder is noticed")
    assert get(url) == 200
    assert len(bench.loads) == 1
    other.kill()
    other.wait()
    until(bench.all_ended, "keeper and server end after a kill -9 of the last holder")


async def test_killed_keeper_takes_the_server_along_and_the_next_request_gets_a_new_one(bench: Bench) -> None:
    async with bench.share(bench.spec()) as server:
        await server.running()
        os.kill(bench.lease.keeper.pid, signal.SIGKILL)
        until(lambda: gone(bench.loads[0]), "the server does not survive its keeper")
        with pytest.raises(BackendUnavailable, match="started again"):
            await server.running()
        running = await server.running()
        assert get(running.url) == 200
        assert len(bench.loads) == 2


async def test_crashed_server_is_reported_once_with_its_log_and_started_again(bench: Bench) -> None:
    async with bench.share(bench.spec()) as server:
        await server.running()
        os.kill(bench.loads[0], signal.SIGKILL)
        until(lambda: server.status()["state"] == "failed", "the crash is noticed")
        with pytest.raises(BackendUnavailable) as raised:
            await server.running()
        assert "SIGKILL" in raised.value.message
        assert "loading the model" in raised.value.message
        assert raised.value.retry_after_s == 5
        assert get((await server.running()).url) == 200


async def test_server_that_cannot_start_says_why(bench: Bench) -> None:
    async with bench.share(bench.spec("broken")) as server:
        with pytest.raises(BackendUnavailable, match="while starting with exit code 3") as raised:
            await server.running()
        assert "weights do not fit" in raised.value.message


async def test_server_that_says_that_it_cannot_serve_is_quoted_and_not_asked_again_at_once(bench: Bench) -> None:
    spec = replace(bench.spec("broken"), refusal_code=3)
    async with bench.share(spec, restart_after_s=600) as server:
        for _ in range(2):
            with pytest.raises(SettingsError) as raised:
                await server.running()
            assert raised.value.message == "ValueError: weights do not fit"
            assert not raised.value.retryable
        assert len(bench.loads) == 1
    async with bench.share(spec, restart_after_s=0) as server:
        for _ in range(2):
            with pytest.raises(SettingsError):
                await server.running()
        assert len(bench.loads) > 2, "somebody may have mended the model"


async def test_server_that_cannot_start_is_not_started_by_everyone_who_asks(bench: Bench) -> None:
    async with bench.share(bench.spec("broken"), restart_after_s=600) as server:
        for _ in range(3):
            with pytest.raises(BackendUnavailable, match="exit code 3") as raised:
                await server.running()
            assert raised.value.retry_after_s is not None
            assert 500 < raised.value.retry_after_s <= 600
        assert len(bench.loads) == 1


async def test_server_that_refuses_its_first_request_is_ended(bench: Bench) -> None:
    async with bench.share(bench.spec("refusing")) as server:
        with pytest.raises(BackendUnavailable, match="HTTP 404: no chat template"):
            await server.running()
        assert gone(bench.loads[0])


async def test_server_that_never_answers_is_ended_after_its_time(bench: Bench) -> None:
    async with bench.share(bench.spec("dead", startup_timeout_s=1.0)) as server:
        with pytest.raises(BackendUnavailable, match="did not answer within 1 s"):
            await server.running()
        assert gone(bench.loads[0])


async def test_entering_and_a_bounded_wait_do_not_wait_for_the_model(bench: Bench) -> None:
    async with bench.share(bench.spec("slow")) as server:
        assert server.status()["state"] == "starting"
        with pytest.raises(BackendUnavailable, match="still loading"):
            await server.running(timeout_s=0.1)
        (bench.path / "loads.go").touch()
        assert get((await server.running()).url) == 200


async def test_starting_server_nobody_waits_for_is_ended(bench: Bench) -> None:
    async with bench.share(bench.spec("slow")):
        until(lambda: len(bench.loads) == 1, "it was started")
    until(bench.all_ended, "keeper and server end")


async def test_server_that_ignores_the_request_to_end_is_killed(bench: Bench) -> None:
    async with bench.share(bench.spec("stubborn")) as server:
        await server.running()
    until(bench.all_ended, "keeper and server end")


async def test_grace_bridges_the_gap_between_two_launches(bench: Bench) -> None:
    async with bench.share(bench.spec(), grace_s=DEADLINE_S) as server:
        first = await server.running()
    async with bench.share(bench.spec()) as server:
        assert (await server.running()).url == first.url
        assert len(bench.loads) == 1
        os.kill(bench.lease.keeper.pid, signal.SIGKILL)  # so that the test need not sit out the grace


async def test_lease_of_a_dead_keeper_heals(bench: Bench) -> None:
    async with bench.share(bench.spec()) as server:
        await server.running()
        keeper, folder = bench.lease.keeper, bench.folder
        os.kill(keeper.pid, signal.SIGKILL)
        until(lambda: not keeper.alive and gone(bench.loads[0]), "keeper and server are dead")
    folder.hold()  # ours, and left behind as by a launcher that was killed: its pid is told from its start time
    for stale in folder.path.glob("holders/*.json"):
        stale.write_text(json.dumps({"pid": os.getpid(), "started_at": 1.0}))
    assert folder.read() is not None
    async with bench.share(bench.spec()) as server:
        assert get((await server.running()).url) == 200
        assert len(bench.folder.holders()) == 1


async def test_pid_of_a_dead_keeper_given_to_another_process_does_not_fool_us(bench: Bench) -> None:
    spec = bench.spec()
    async with bench.share(spec):
        folder = bench.folder
    until(bench.all_ended, "the first server ended")
    stranger = ProcessMark(os.getpid(), ProcessMark.of(os.getpid()).started_at - 1000)
    folder.write(Lease(stranger, "0", spec.fingerprint, "ready", "http://127.0.0.1:9", server=stranger))
    async with bench.share(spec) as server:
        assert get((await server.running()).url) == 200


async def test_unreadable_lease_heals(bench: Bench) -> None:
    async with bench.share(bench.spec()):
        folder = bench.folder
    until(bench.all_ended, "the first server ended")
    (folder.path / "lease.json").write_text("{")
    async with bench.share(bench.spec()) as server:
        assert get((await server.running()).url) == 200


async def test_server_left_behind_by_its_keeper_is_ended_before_a_new_one_starts(bench: Bench) -> None:
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        async with bench.share(bench.spec()):
            folder = bench.folder
        until(bench.all_ended, "the first server ended")
        dead = ProcessMark(orphan.pid, 1.0)
        folder.write(Lease(dead, "0", "f", "ready", "http://127.0.0.1:9", server=ProcessMark.of(orphan.pid)))
        async with bench.share(bench.spec()) as server:
            await server.running()
            assert gone(orphan.pid)
    finally:
        orphan.kill()
        orphan.wait()


async def test_different_settings_get_different_servers(bench: Bench) -> None:
    other = replace(bench.spec(), identity=("other weights",))
    assert other.fingerprint != bench.spec().fingerprint
    async with bench.share(bench.spec()) as one, bench.share(other) as two:
        assert (await one.running()).url != (await two.running()).url


async def test_lease_says_who_keeps_what_and_is_private(bench: Bench) -> None:
    async with bench.share(bench.spec()) as server:
        await server.running()
        written = json.loads((bench.folder.path / "lease.json").read_text())
        assert written["fingerprint"] == bench.spec().fingerprint
        assert written["version"]
        assert psutil.Process(written["keeper"]["pid"]).create_time() == pytest.approx(written["keeper"]["started_at"])
        for path in [bench.path / "run", *(bench.path / "run").rglob("*"), *(bench.path / "logs").rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_server_sees_no_credentials(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("MLX_CLUSTER_API_KEY", "ANYCLAUDE_ACCESS_TOKEN")
    for name in ("ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", *ours):
        monkeypatch.setenv(name, "sk-secret")
    monkeypatch.setenv("HF_TOKEN", "needed to download")
    async with bench.share(bench.spec()) as server:
        await server.running()
        for pid in (bench.lease.keeper.pid, *bench.loads):
            seen = psutil.Process(pid).environ()
            assert "sk-secret" not in seen.values()
            assert seen["HF_TOKEN"] == "needed to download"


def test_keeper_finds_the_package_from_a_checkout() -> None:
    kept = keeper_environment({"PYTHONPATH": "/theirs"})
    command = [sys.executable, "-P", "-c", "import anyclaude_lab.engine.keeper"]
    assert subprocess.run(command, env=kept, cwd="/").returncode == 0
    assert kept["PYTHONPATH"].endswith("/theirs")


def test_full_log_is_moved_aside_while_the_server_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("ab") as server:
        server.write(b"old line\n" * 200)
        server.flush()
        cap_log(log, cap_bytes=1000)
        server.write(b"new line\n")
    assert log.read_bytes() == b"new line\n"
    assert (tmp_path / "server.1.log").stat().st_size <= 1000
    assert (tmp_path / "server.1.log").read_bytes().endswith(b"old line\n")
