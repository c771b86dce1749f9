"""One model on several machines: what is refused beforehand, how ranks meet, and two real ones on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from anyclaude_lab.engine import group as group_module
from anyclaude_lab.engine.distributed import distributed_server, host_file
from anyclaude_lab.engine.group import Group, Host, Lost, Order, keep_serving, meeting
from anyclaude_lab.engine.rank import ALIVE, JOINED, MOVED
from anyclaude_lab.engine.servers import SharedServer, shared_server
from anyclaude_lab.engine.spec import ServerSpec
from anyclaude_lab.errors import BackendUnavailable, SettingsError
from anyclaude_lab.settings import DistributedSettings, HostSettings
from tests.processes import gone, until
from tests.requirements import require_mlx
from tests.sshd import reachable

HERE = HostSettings("127.0.0.1", ("127.0.0.1",))
THERE = HostSettings("mac-2", ("127.0.0.1",))


def two(**fields: object) -> DistributedSettings:
    return DistributedSettings(**{"hosts": (HERE, HERE), **fields})  # type: ignore[arg-type]  # its own fields


def order(*hosts: Host, **fields: object) -> Order:
    return Order(hosts, ("server",), **fields)  # type: ignore[arg-type]  # its own fields


# --- how ranks meet ---


def test_a_ring_on_this_machine_meets_at_free_ports_another_at_those_that_were_chosen() -> None:
    here, there = Host("127.0.0.1", ("127.0.0.1",)), Host("mac-2", ("10.0.0.2", "10.0.1.2"))
    files, environment = meeting(order(here, here))
    (first,), (second,) = json.loads(files["MLX_HOSTFILE"])
    assert first != second and first.startswith("127.0.0.1:") and environment == {}
    files, _ = meeting(order(replace(here, ips=("10.0.0.1",)), there))
    assert json.loads(files["MLX_HOSTFILE"]) == [["10.0.0.1:32323"], ["10.0.0.2:32324", "10.0.1.2:32325"]]
    files, _ = meeting(order(here, here, starting_port=4000))
    assert json.loads(files["MLX_HOSTFILE"]) == [["127.0.0.1:4000"], ["127.0.0.1:4001"]]


def test_over_rdma_ranks_meet_at_a_coordinator_with_a_matrix_of_devices() -> None:
    hosts = Host("127.0.0.1", ("10.0.0.1",), (None, "rdma_en2")), Host("mac-2", ("10.0.0.2",), ("rdma_en3", None))
    files, environment = meeting(order(*hosts, jaccl=True))
    assert json.loads(files["MLX_IBV_DEVICES"]) == [[None, "rdma_en2"], ["rdma_en3", None]]
    assert environment == {"MLX_JACCL_COORDINATOR": "10.0.0.1:32323"}


def test_an_order_survives_its_journey_and_is_told_as_mlx_launch_would_read_it() -> None:
    given = order(
        Host("127.0.0.1", ("10.0.0.1",), (None, "rdma_en2")), Host("mac-2", ("10.0.0.2",), ("rdma_en3", None))
    )
    assert Order.read(given.text()) == given
    told = json.loads(host_file(given))
    assert told["backend"] == "ring"
    assert told["hosts"][1] == {"ssh": "mac-2", "ips": ["10.0.0.2"], "rdma": ["rdma_en3", None]}


# --- what is refused ---


def model(folder: Path, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_key_value_heads": 2, **config}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.engine
@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (two(hosts=(THERE, HERE)), "put this machine first"),
        (two(hosts=(HERE, HERE, HERE)), "has 2 key-value heads, which 3 machines cannot share"),
        (two(sharding="pipeline"), "no model.safetensors.index.json"),
        (two(backend="jaccl"), "not every host has an rdma list"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(
    chosen: DistributedSettings, sentence: str, tmp_path: Path
) -> None:
    require_mlx()
    with pytest.raises(SettingsError, match=sentence):
        distributed_server(model(tmp_path / "model"), chosen)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with reachable(tmp_path / "ssh") as programs:
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        yield


def test_a_rank_that_never_joins_is_named_in_a_sentence(ssh: None, capfd: pytest.CaptureFixture[str]) -> None:
    asleep, before = Host("asleep", ("10.0.0.2",)), psutil.Process().children()
    why = keep_serving(order(asleep, Host("asleep", ("10.0.0.3",)), join_s=0.3, starting_port=4000))
    assert why.startswith("Rank 0 (asleep) did not join within 0.3 s: see that 10.0.0.2 can be reached")
    assert all(gone(child.pid) for child in psutil.Process().children() if child not in before)


def test_a_rank_that_ends_before_it_joins_says_its_last_words(ssh: None) -> None:
    broken = Host("mac-2", ("127.0.0.1",))
    with pytest.raises(Lost, match=r"Rank 0 \(mac-2\) ended before it joined \(exit code 127\): .*/nowhere/python"):
        Group(order(broken, python="/nowhere/python", join_s=30)).serve()


SIGNS = f"for each in $(seq 20); do echo 'half a line {ALIVE}'; sleep 0.05; done"


@pytest.mark.parametrize(
    ("said", "silent_s", "sentence"),
    [
        (f"echo {JOINED}", 0.5, r"Rank 0 \(127.0.0.1\) hangs: nothing was heard of it for 0.5 s"),
        (f"echo {JOINED}; echo {MOVED}; {SIGNS}", 30.0, "All ranks hang: they have exchanged nothing for 0.3 s"),
    ],
)
def test_ranks_that_hang_are_lost(
    said: str,
    silent_s: float,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(group_module, "SILENT_S", silent_s)
    monkeypatch.setattr(group_module, "STALLED_S", 0.3)
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{said}\nexec cat\n")
    program.chmod(0o755)
    with pytest.raises(Lost, match=sentence) as lost:
        Group(order(Host("127.0.0.1", ("127.0.0.1",)), python=str(program))).serve()
    assert lost.value.joined
    assert ALIVE not in capfd.readouterr().out


def test_what_a_rank_says_moves_no_cursor_and_forges_no_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nprintf 'it\\033[2Jmoved\\n'; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(Lost) as lost:
        Group(order(Host("127.0.0.1", ("127.0.0.1",)), python=str(program))).serve()
    assert "\\x1b[2Jmoved" in str(lost.value) and "\\x1b[2Jmoved" in capfd.readouterr().out


# --- two real ranks ---


def free_ports(count: int) -> int:
    """The first of so many, below those that the system gives to connections."""
    for first in range(20_000 + os.getpid() % 4_000 * count, 32_000, count):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError(f"no {count} ports are free")


def ranks(model: Path) -> list[psutil.Process]:
    """Every process of the ranks that hold this model, on the far side of ssh too: of each its watcher and itself."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if "anyclaude_lab.engine.rank" in words and str(model) in words[-1]:
                found.append(process)
    return found


def end_of(server: SharedServer, left: list[psutil.Process]) -> None:
    """Kill the keeper outright and wait until nothing is left."""
    lease = server.folder.read()
    assert lease is not None and lease.server is not None
    group = psutil.Process(lease.server.pid)
    left = [*left, group, *group.children(recursive=True)]
    psutil.Process(lease.keeper.pid).kill()
    until(lambda: all(gone(process.pid) for process in left), "no rank outlives its keeper, killed outright")


def itself(processes: list[psutil.Process], number: int) -> psutil.Process:
    told = (process for process in processes if "--run" in process.cmdline())
    return next(process for process in told if f'"rank": {number}' in process.cmdline()[-1])


def say(url: str) -> dict[str, object]:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "logprobs": True, "top_logprobs": 1}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        (choice,) = json.load(response)["choices"]
    return {"text": choice["message"].get("content"), "tokens": [t["token"] for t in choice["logprobs"]["content"]]}


def says_again(url: str, told: object) -> bool:
    try:
        return say(url) == told
    except OSError:
        return False


async def answered(spec: ServerSpec, home: Path) -> dict[str, object]:
    async with shared_server(spec, run_dir=home / "run", log_dir=home / "logs", grace_s=0.1) as server:
        return await asyncio.to_thread(say, (await server.running()).url)


@pytest.mark.engine
@pytest.mark.timeout(900)
async def test_two_ranks_say_what_one_says_and_a_lost_one_is_replaced(tmp_path: Path, ssh: None) -> None:
    """In both ways of sharing a model: the process of a rank is killed in one, and stopped in the other."""
    require_mlx()
    from anyclaude_lab.engine.mlx_server import mlx_lm_server
    from benchmarks.engine.random_model import write

    folder = write(tmp_path / "model", "pipeline")
    alone = await answered(mlx_lm_server(folder), tmp_path / "alone")
    pipeline = two(hosts=(HERE, THERE), sharding="pipeline", starting_port=free_ports(2))
    over_ssh = distributed_server(folder, pipeline)
    await lose_one(over_ssh, folder, tmp_path / "pipeline", alone, psutil.Process.suspend)
    await lose_one(distributed_server(folder, two()), folder, tmp_path / "tensor", alone, psutil.Process.kill)


async def lose_one(
    spec: ServerSpec, model: Path, home: Path, alone: dict[str, object], lose: Callable[[psutil.Process], None]
) -> None:
    """Two ranks answer as `alone`, also after one of them was lost, and are gone with their keeper."""
    async with shared_server(spec, run_dir=home / "run", log_dir=home / "logs", grace_s=0.1) as server:
        url, log = (await server.running()).url, server.log_path
        assert await asyncio.to_thread(say, url) == alone
        before = ranks(model)
        assert len(before) == 4
        lose(itself(before, 1))
        until(lambda: ") was lost" in log.read_text(), "the lost rank is noticed")
        assert "Rank 1 (" in log.read_text()
        until(lambda: log.read_text().count("all 2 ranks have joined") == 2, "the group is there again")
        until(lambda: all(gone(process.pid) for process in before), "nothing is left of the former ranks")
        until(lambda: says_again(url, alone), "it answers as before")
        end_of(server, ranks(model))


@pytest.mark.engine
async def test_nothing_is_left_of_ranks_that_were_still_waiting_for_each_other(tmp_path: Path, ssh: None) -> None:
    require_mlx()
    from benchmarks.engine.random_model import write

    asleep = HostSettings("asleep", ("127.0.0.1",))
    model = write(tmp_path / "model", "pipeline")
    spec = distributed_server(model, two(hosts=(HERE, THERE, asleep), starting_port=free_ports(3), sharding="pipeline"))
    async with shared_server(spec, run_dir=tmp_path / "run", log_dir=tmp_path / "logs", grace_s=0.1) as server:
        with pytest.raises(BackendUnavailable, match="still loading"):
            await server.running(timeout_s=0)
        until(lambda: len(ranks(model)) == 4, "one waits here, and one behind ssh")
        end_of(server, ranks(model))
