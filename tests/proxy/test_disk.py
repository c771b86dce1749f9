"""What is kept on disk: listed by size, the oldest removed when asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.proxy.disk import show_or_prune, size_of
from anyclaude_lab.settings import Settings

OLD, NEW = "0" * 40, "1" * 40


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two prefixes of 1000 bytes, two logs and two traces of 500, and files that are none of ours."""
    sizes = {
        f"prefixes/model/{OLD}.safetensors": 990,
        f"prefixes/model/{OLD}.json": 10,
        f"prefixes/model/{NEW}.safetensors": 990,
        f"prefixes/model/{NEW}.json": 10,
        "logs/proxy.log.1": 500,
        "logs/proxy.log": 500,
        "traces/2026-01-01-aaaa.jsonl": 500,
        "traces/2026-01-02-bbbb.jsonl": 500,
        "traces/notes.jsonl": 9000,
    }
    for age, (name, size) in enumerate(sizes.items()):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
        os.utime(file, (age, age))
    return tmp_path


def names(state: Path) -> set[str]:
    return {file.name for file in state.rglob("*") if file.is_file()}


def test_each_kind_is_listed_with_its_size(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(state)
    assert show_or_prune(Settings(), state, prune=None, ask=None, agreed=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["prefixes", "2", "KB", "2"],
        ["logs", "1", "KB", "2"],
        ["traces", "1", "KB", "2"],
    ]
    assert names(state) == before


def test_the_oldest_go_and_strangers_stay(state: Path) -> None:
    before = names(state)
    assert show_or_prune(Settings(), state, prune="1KB", ask=None, agreed=True) == 0
    assert before - names(state) == {f"{OLD}.safetensors", f"{OLD}.json"}
    assert show_or_prune(Settings(), state, prune="0", ask=lambda question: True, agreed=False) == 0
    assert names(state) == {"notes.jsonl"}


def test_nothing_goes_without_a_yes(state: Path) -> None:
    before = names(state)
    with pytest.raises(SettingsError, match="--yes"):
        show_or_prune(Settings(), state, prune="1KB", ask=None, agreed=False)
    show_or_prune(Settings(), state, prune="1KB", ask=lambda question: False, agreed=False)
    assert names(state) == before


def test_recordings_lie_where_the_settings_say(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_or_prune(Settings(record_dir=tmp_path / "elsewhere"), state, prune=None, ask=None, agreed=False)
    assert "elsewhere" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("500MB", 500_000_000), ("1.5 gb", 1_500_000_000), ("0", 0), ("7", 7)]
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert size_of(text) == size_bytes


@pytest.mark.parametrize("text", ["", "much", "-1", "1 parsec"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(SettingsError, match="such as 500MB"):
        size_of(text)
