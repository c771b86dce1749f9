"""A replay by workers of a real Ray cluster on this machine."""

from __future__ import annotations

import ipaddress
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import anyclaude_lab as lab
from anyclaude_lab.cli import main
from anyclaude_lab.lab.cells import combine
from anyclaude_lab.lab.run import load_run
from anyclaude_lab.wire.events import JsonObject
from tests.requirements import require_ray

BUNDLED = Path(__file__).parents[2] / "traces"
VARIANTS = [lab.variant("plain", backend="scripted"), lab.variant("stubs", backend="scripted", stub_tools=True)]
# Of what a server's cache holds, which depends on the other sessions that it was asked.
TIMES = {"ttfb_s", "ttft_s", "ttft_visible_s", "tt_tool_s", "tt_tool_complete_s", "e2e_s", "stream_close_s"}
CACHE = {"ideal_tokens", "expected_tokens", "prompt_tokens_cached", *TIMES}
FILES = [BUNDLED / f"{name}.jsonl" for name in ("short-fix", "broken-prefix", "subagents")]  # two of one shard


def without(cells: list[JsonObject], names: set[str]) -> dict[str, JsonObject]:
    return {cell["key"]: {k: v for k, v in cell.items() if k not in names} for cell in cells}


@contextmanager
def listeners() -> Iterator[Callable[[], list[str]]]:
    """Where processes of ours listen meanwhile; those addresses that other machines reach."""
    seen, over = set[str](), threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    seen.update(c.laddr.ip for c in process.net_connections("inet") if c.status == "LISTEN")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield lambda: sorted(ip for ip in seen if not ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback)
    finally:
        over.set()
        looking.join()
    assert seen, "not even a loopback address was seen"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no Ray worker to be relied on")
@pytest.mark.ray
def test_two_workers_find_what_two_shards_do_and_what_one_machine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_ray()
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps a token there
    traces = lab.load(FILES)
    for number in (1, 2):
        out = tmp_path / str(number)
        lab.replay(traces, VARIANTS, shard=(number, 2), out=out, turns_per_session=3, progress=False)
    head, sharded, complaints = combine([tmp_path / "1", tmp_path / "2"])
    words = ["replay", *map(str, FILES), "--backend", "scripted", "--stub-tools", "off,on", "--turns", "3"]
    with listeners() as strangers:
        assert main([*words, "--engine", "ray", "--workers", "2", "--out", str(tmp_path / "ray")]) == 0
    assert strangers() == [], "it listens to other machines"
    rayed = load_run(tmp_path / "ray")
    whole = lab.replay(traces, VARIANTS, turns_per_session=3, progress=False)
    ours = {"position", "variant"}  # the command names its variants itself
    assert not complaints and head["combined"] == 2
    assert without(rayed.cells, ours) == without(sharded, ours)
    assert without(sharded, {"position", *CACHE}) == without(whole.cells, {"position", *CACHE})
    assert rayed.head["workers"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "ray", "--shard", "1/2"], "--shard"),
        (["--engine", "dask"], "--engine"),
        (["--workers", "2"], "--engine ray"),
    ],
)
def test_a_wrong_engine_is_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(FILES[0]), "--backend", "scripted", *words]) == 2
    assert said in capsys.readouterr().err
