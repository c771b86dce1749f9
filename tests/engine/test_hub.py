"""Models from a hub: the size is told first, a download survives its interruption, mistakes are one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from anyclaude_lab.engine import hub
from anyclaude_lab.engine.hub import Download, obtain
from anyclaude_lab.errors import SettingsError
from tests.processes import gone, until
from tests.standins.http import running
from tests.standins.hub import HubStandIn

NAME = "harbor/lantern-4bit"
WEIGHTS = bytes(range(256)) * 90_000  # huggingface_hub writes ten megabytes at a time
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"chat_template": "x"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"not read by mlx-lm" * 10_000,
}
OBTAIN = f"from anyclaude_lab.engine.hub import obtain; obtain({NAME!r}, None, None, agreed=True)"


@pytest.fixture
def a_hub() -> Iterator[HubStandIn]:
    with running(HubStandIn(NAME, FILES)) as standin:
        yield standin


def environment(standin: HubStandIn, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {
        "HF_ENDPOINT": standin.url,
        "HF_HOME": str(home / "hf"),
        "HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
    }


def start(program: list[str], standin: HubStandIn, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program],
        env=environment(standin, home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(home: Path) -> list[bytes]:
    return [file.read_bytes() for file in home.glob("hf/hub/models--*/snapshots/*/model.safetensors")]


def test_without_a_terminal_it_is_refused_with_size_and_command(a_hub: HubStandIn, tmp_path: Path) -> None:
    process = start(["-m", "anyclaude_lab.proxy", "--proxy-only", "--port", "0", "--model", NAME], a_hub, tmp_path)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert f"anyclaude --model {NAME} --yes" in line
    assert "GB to download into" in line and "are free" in line
    assert a_hub.downloads() == []


def test_an_interrupted_download_goes_on_where_it_ended(a_hub: HubStandIn, tmp_path: Path) -> None:
    a_hub.stall_at = 21_000_000
    process = start(["-c", OBTAIN], a_hub, tmp_path)
    until(lambda: any(len(e.sent) >= 21_000_000 for e in a_hub.downloads()), "the weights have begun to arrive")
    partial = "hf/hub/models--*/blobs/*.incomplete"
    until(lambda: any(f.stat().st_size > 15_000_000 for f in tmp_path.glob(partial)), "some of them are on disk")
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode
    assert "what has arrived is kept" in said
    until(lambda: all(map(gone, children)), "the download has ended with its starter")
    assert weights(tmp_path) == []  # nothing half has a name

    a_hub.stall_at = None
    process = start(["-c", OBTAIN], a_hub, tmp_path)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert weights(tmp_path) == [WEIGHTS]
    again = [e for e in a_hub.downloads() if e.path.endswith("model.safetensors")][-1]
    assert (again.header("range") or "bytes=0-") != "bytes=0-", "it began anew"
    assert not any("pytorch_model" in e.path for e in a_hub.downloads())


def test_a_model_that_the_hub_lacks_is_one_sentence(a_hub: HubStandIn, tmp_path: Path) -> None:
    process = start(["-m", "anyclaude_lab.proxy", "--proxy-only", "--model", "harbor/other", "--yes"], a_hub, tmp_path)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "check its name" in said and len(said.splitlines()) == 1


def test_what_a_hub_says_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError("no\x1b[2J\x07such thing")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuses)
    with pytest.raises(SettingsError, match="no hub answers") as refused:
        hub.look_up(NAME)
    assert str(refused.value).isprintable()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was downloaded; the hub has 4 GB of it, the disk 100."""
    names: list[str] = []
    monkeypatch.setattr(hub, "look_up", lambda name: Download(name, 4 * 10**9, 100 * 10**9, Path("/cache")))
    monkeypatch.setattr(hub, "fetch", names.append)
    return names


@pytest.mark.parametrize("answer", [True, False])
def test_in_a_terminal_it_is_asked_first(answer: bool, fetched: list[str]) -> None:
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return answer

    if answer:
        obtain(NAME, None, ask, agreed=False)
    else:
        with pytest.raises(SettingsError, match="was not downloaded"):
            obtain(NAME, None, ask, agreed=False)
    assert "4.0 GB" in questions[0] and "100.0 GB are free" in questions[0]
    assert fetched == [NAME] * answer


def test_a_disk_without_room_is_told_before_anything_is_asked(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "look_up", lambda name: Download(name, 4 * 10**9, 4 * 10**9, Path("/cache")))
    with pytest.raises(SettingsError, match="does not fit on the disk"):
        obtain(NAME, None, None, agreed=True)
    assert fetched == []


def test_what_is_there_as_a_whole_is_not_asked_for(fetched: list[str], tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    obtain(NAME, tmp_path, None, agreed=False)
    (tmp_path / "model.safetensors").unlink()
    obtain(NAME, tmp_path, None, agreed=True)
    assert fetched == [NAME]
