"""One folder with everything that may be wrong with traces: each is named with its place, the rest is processed."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import anyclaude_lab as lab
from anyclaude_lab.cli import main
from anyclaude_lab.errors import SettingsError
from tests.trace.record_sessions import BUNDLED

GOOD = (BUNDLED / "short-fix.jsonl").read_bytes()
LINES = GOOD.splitlines(keepends=True)
LAST = len(LINES)


def with_last(edit: Callable[[dict[str, object]], object]) -> bytes:
    """The session with its last exchange changed."""
    exchange = json.loads(LINES[-1])
    edit(exchange)
    return b"".join(LINES[:-1]) + json.dumps(exchange).encode() + b"\n"


def archive(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("../../escaped.jsonl", GOOD)


# name -> (content, what is said of it)
SPOILED: dict[str, tuple[bytes, str]] = {
    "torn.jsonl": (GOOD[:-40], f"line {LAST}: "),
    "blob.jsonl": (with_last(lambda e: e["request"].update(segments=["m0123456789abcdef"])), f"line {LAST}: "),  # type: ignore[attr-defined]  # a line of JSON
    "hash.jsonl": (with_last(lambda e: e["response"].update(pieces=[[0, "other"]])), f"line {LAST}: "),  # type: ignore[attr-defined]  # a line of JSON
    "future.jsonl": (b'{"kind":"trace","format":"anyclaude-trace","version":99}\n', "version 99"),
    "empty.jsonl": (LINES[0], "holds no exchange"),
    "bomb.jsonl.gz": (gzip.compress(b"{}\n" * 3_000_000), "swells"),
    "other.jsonl": (b'{"log":{"version":"1.2","entries":[]}}\n', "line 1: "),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("anyclaude_lab.trace.files.FREE_BYTES", 1_000_000)
    monkeypatch.chdir(tmp_path)
    traces = tmp_path / "traces"
    traces.mkdir()
    (traces / "good.jsonl").write_bytes(GOOD)
    for name, (content, _) in SPOILED.items():
        (traces / name).write_bytes(content)
    archive(traces / "outside.zip")
    return traces


def test_everything_is_named_and_the_rest_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "traces"]) == 1
    told = capsys.readouterr()
    for name, (_, sentence) in SPOILED.items():
        assert any(f"traces/{name}" in line and sentence in line for line in told.err.splitlines()), (name, told.err)
    assert any("outside.zip" in line and "leads out" in line for line in told.err.splitlines())
    assert "ok           5 exchanges  traces/good.jsonl" in told.out
    assert not list(folder.parent.rglob("escaped*"))
    assert "Traceback" not in told.err


def test_what_is_whole_is_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "traces", "--backend", "scripted", "--turns", "1", "--tier", "off"]) == 0
    told = capsys.readouterr()
    for name in ("torn.jsonl", "future.jsonl", "empty.jsonl", "bomb.jsonl.gz", "other.jsonl", "outside.zip"):
        assert f"traces/{name}" in told.err, name


def test_an_archive_of_something_else_is_no_session(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"request": {"method": "GET", "url": "https://example.com/"}, "response": {"status": 200}}
    (folder.parent / "web.har").write_text(json.dumps({"log": {"version": "1.2", "entries": [entry]}}))
    assert main(["import", "web.har", "--out", "imported"]) == 2
    assert "web.har: none of its 1 entries" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda one: lab.replay("traces", [one], progress=False), "lab.load('traces')"),
        (lambda one: lab.replay(lab.load(BUNDLED), ["scripted"], progress=False), "'scripted' is no variant"),
        (lambda one: lab.replay(lab.load(BUNDLED), [one], repeat=0, progress=False), "repeat is 0"),
        (lambda one: lab.prefix_breaks(lab.load(BUNDLED), one.name), "is no variant"),
        (lambda one: lab.explain({"model": "m", "messages": []}, one.name), "is no variant"),
    ],
)
def test_a_slip_in_a_notebook_is_a_sentence(mistake: Callable[[lab.Variant], object], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        mistake(lab.variant("one", backend="scripted"))
    assert said in refused.value.message
