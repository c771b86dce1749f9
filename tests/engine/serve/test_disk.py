"""Prefixes on disk: whole, ours and unspoilt, or not there at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from anyclaude_lab.engine.serve import disk
from anyclaude_lab.engine.serve.disk import PrefixFolder, digest
from anyclaude_lab.engine.serve.prefixes import Tokens

PREFIX = Tokens.of(range(100))
PROMPT = Tokens.of(range(120))


@pytest.fixture
def folder(tmp_path: Path) -> PrefixFolder:
    return PrefixFolder(tmp_path / "prefixes", "model-a", 10_000)


def keep(folder: PrefixFolder, prefix: Tokens = PREFIX, content: bytes = b"state" * 100) -> bool:
    return folder.write(prefix, lambda path: path.write_bytes(content), len(content))


def read(folder: PrefixFolder, prompt: Tokens = PROMPT) -> bytes | None:
    card = folder.find(prompt)
    found: bytes | None = folder.read(card, Path.read_bytes) if card else None
    return found


def data(folder: PrefixFolder, prefix: Tokens = PREFIX) -> Path:
    return folder.folder / f"{digest(prefix)}.safetensors"


def test_what_was_written_is_found_by_any_longer_prompt(folder: PrefixFolder) -> None:
    assert keep(folder)
    assert read(folder) == b"state" * 100
    assert folder.find(PREFIX) is None  # one token has to be left to compute
    assert folder.find(Tokens.of(range(1, 120))) is None
    assert stat.S_IMODE(data(folder).stat().st_mode) == 0o600


def test_the_longest_fitting_prefix_is_found(folder: PrefixFolder) -> None:
    for length in (50, 110, 90):
        keep(folder, Tokens.of(range(length)))
    card = folder.find(PROMPT)
    assert card is not None
    assert card.tokens == 110


def test_another_model_finds_nothing(folder: PrefixFolder) -> None:
    keep(folder)
    assert PrefixFolder(folder.root, "model-b", 10_000).find(PROMPT) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"S" + path.read_bytes()[1:]),
    ],
    ids=["empty", "cut", "one bit"],
)
def test_a_spoilt_file_is_not_read_and_removed(folder: PrefixFolder, spoil: object) -> None:
    keep(folder)
    spoil(data(folder))  # type: ignore[operator]  # parametrised
    assert read(folder) is None
    assert list(folder.folder.iterdir()) == []
    assert folder.removed_broken == 1


def test_a_file_the_reader_refuses_is_removed(folder: PrefixFolder) -> None:
    keep(folder)
    card = folder.find(PROMPT)
    assert card is not None

    def refuse(path: Path) -> None:
        raise ValueError("no state")

    assert folder.read(card, refuse) is None
    assert list(folder.folder.iterdir()) == []


@pytest.mark.parametrize("card", ["", "[]", "{}", '{"format": "another"}', "null"])
def test_a_card_of_another_make_is_ignored_and_cleaned_away(folder: PrefixFolder, card: str) -> None:
    keep(folder)
    data(folder).with_suffix(".json").write_text(card)
    fresh = PrefixFolder(folder.root, folder.model, 10_000)
    assert fresh.find(PROMPT) is None
    fresh.clean()
    assert list(folder.folder.iterdir()) == []


def test_files_that_are_not_ours_are_left_alone(folder: PrefixFolder) -> None:
    keep(folder)
    for name in ("notes.txt", "settings.json", "weights.safetensors"):
        (folder.folder / name).write_text("mine")
        os.utime(folder.folder / name, (0, 0))
    folder.clean()
    folder.cap_bytes = 0
    folder.trim()
    assert sorted(path.name for path in folder.folder.iterdir()) == [
        "notes.txt",
        "settings.json",
        "weights.safetensors",
    ]


def test_half_written_files_are_cleaned_away_once_they_are_old(folder: PrefixFolder) -> None:
    folder.folder.mkdir(parents=True)
    scratch, lonely = folder.folder / "0f.tmp.safetensors", data(folder)
    for path in (scratch, lonely):
        path.write_bytes(b"half")
    folder.clean()
    assert scratch.exists()  # another process may be at it
    for path in (scratch, lonely):
        os.utime(path, (0, 0))
    folder.clean()
    assert list(folder.folder.iterdir()) == []


def test_the_least_recently_used_goes_when_the_cap_is_reached(folder: PrefixFolder) -> None:
    prefixes = [Tokens.of([n, *range(50)]) for n in range(4)]
    for age, prefix in enumerate(prefixes[:3]):
        keep(folder, prefix, b"x" * 3000)
        os.utime(data(folder, prefix), (age, age))
    os.utime(data(folder, prefixes[0]), (10, 10))  # used again
    keep(folder, prefixes[3], b"x" * 3000)
    assert [folder.has(prefix) for prefix in prefixes] == [True, False, True, True]


def test_what_is_larger_than_the_cap_is_refused_in_words(folder: PrefixFolder) -> None:
    assert not keep(folder, content=b"x" * 20_000)
    assert "larger than the cap" in str(folder.refused)


def test_a_full_disk_is_said_and_nothing_is_left(folder: PrefixFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "FREE_BYTES", 1 << 62)
    assert not keep(folder)
    assert "nearly full" in str(folder.refused)
    monkeypatch.undo()

    def fails(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    assert not folder.write(PREFIX, fails, 10)
    assert "No space left" in str(folder.refused)
    assert list(folder.folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = PrefixFolder(tmp_path / "file", "model", 10_000)
    assert not keep(folder)
    assert "cannot be written" in str(folder.refused)
    assert folder.find(PROMPT) is None


def _work(root: Path, worker: int) -> None:
    folder = PrefixFolder(root, "model", 3_000)
    for n in range(40):
        prefix = Tokens.of([n % 7, *range(50)])
        keep(folder, prefix, bytes([n % 7]) * 1000)
        card = folder.find(Tokens.of([(n + worker) % 7, *range(60)]))
        found = folder.read(card, Path.read_bytes) if card else None
        assert found is None or found == bytes([(n + worker) % 7]) * 1000
    assert folder.removed_broken == 0


def test_processes_share_a_folder(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_work, args=(tmp_path, worker)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    for card in (tmp_path / "model").glob("*.json"):
        assert json.loads(card.read_text())["tokens"] == 51
