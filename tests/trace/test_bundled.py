"""The sessions in traces/: whole, verified, explained, and free of secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.trace.redaction import Redaction
from tests.standins import grammar
from tests.trace.record_sessions import BUNDLED, SESSIONS, Session, record
from tests.trace.secrets import SUSPECT

FILES = sorted(BUNDLED.glob("*.jsonl"))
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
MAX_BYTES = 1_500_000


def test_every_session_is_there_and_explained() -> None:
    assert {file.stem for file in FILES} == {session.name for session in SESSIONS}
    page = (BUNDLED / "README.md").read_text()
    assert [file.name for file in FILES if f"`{file.name}`" not in page] == []
    assert sum(file.stat().st_size for file in FILES) < MAX_BYTES


@each
def test_every_exchange_is_whole_and_fits_its_hashes(file: Path) -> None:
    trace = read_trace(file)
    assert trace.complaints == []
    for exchange in trace.exchanges:
        exchange.request()
        assert grammar.violations(exchange.answer.encode()) == []
        assert exchange.data["request"]["exact"] is exchange.data["response"]["exact"] is True


@each
def test_no_session_holds_a_secret(file: Path) -> None:
    text = file.read_text()
    assert SUSPECT.findall(text) == []
    for exchange in read_trace(file).exchanges:
        assert Redaction(b"k").text(exchange.body) == exchange.body
        assert Redaction(b"k").stream(exchange.answer) == exchange.answer


def test_the_scan_finds_a_planted_secret() -> None:
    assert SUSPECT.search('{"body":"key sk-ant-' + 'api03-x"}')
    assert SUSPECT.search("see /home/" + "ada/x")


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
async def test_the_script_makes_the_bundled_session(tmp_path: Path, session: Session) -> None:
    files = (await record(session, tmp_path), BUNDLED / f"{session.name}.jsonl")
    made, bundled = (read_trace(file).exchanges for file in files)
    assert [turn.data["stop_reason"] for turn in made] == [turn.data["stop_reason"] for turn in bundled]
    assert [_shape(turn.body) for turn in made] == [_shape(turn.body) for turn in bundled]


def test_requests_grow_by_appending_in_all_but_the_broken_session() -> None:
    broken = {file.stem for file in FILES if not _grows(file)}
    assert broken == {"broken-prefix", "long-compaction"}


def _grows(file: Path) -> bool:
    lanes: dict[str, list[object]] = {}
    for exchange in read_trace(file).exchanges:
        history = json.loads(exchange.body)["messages"]
        before = lanes.get(exchange.lane, [])
        if history[: len(before)] != before:
            return False
        lanes[exchange.lane] = history
    return True


def _shape(body: str) -> object:
    """The request without the ids of its calls, which are new each time."""
    request = json.loads(body)
    for message in request["messages"]:
        for block in message["content"]:
            for name in ("id", "tool_use_id", "signature"):
                block.pop(name, None)
    return request
