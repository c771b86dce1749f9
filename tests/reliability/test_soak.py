"""The judge of the sessions that are soaked: it sees an illegal stream, a harmed trace, a hang, and goes on."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.soak import sessions
from tests.standins.tap import Passed

ROOT = Path(__file__).parents[2]
TRACE = ROOT / "traces" / "short-fix.jsonl"


def answered(body: bytes, status: int = 200, *, complete: bool = True) -> Any:
    """A proxy whose client got that."""
    headers = [("content-type", "text/event-stream")]
    return SimpleNamespace(messages=[Passed("POST", "/v1/messages", [], b"{}", status, headers, body, complete)])


def case() -> sessions.Case:
    return next(sessions.cases(1, 1, sessions.FAULTS, 1.0))


def test_an_illegal_stream_is_seen() -> None:
    half = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    with pytest.raises(AssertionError, match="ILLEGAL"):
        sessions.legal(answered(half))
    assert sessions.legal(answered(b"", complete=False)) == 1  # a cut is how a stream may end


@pytest.mark.parametrize("harm", ["torn line", "changed answer", "lost exchange"])
def test_a_harmed_trace_is_seen(harm: str, tmp_path: Path) -> None:
    lines = TRACE.read_bytes().splitlines(keepends=True)
    exchanges = [at for at, line in enumerate(lines) if b'"kind":"exchange"' in line]
    seen = answered(b"")
    if harm == "torn line":
        lines[exchanges[0]] = lines[exchanges[0]][:-20]
    elif harm == "changed answer":
        lines[exchanges[0]] = lines[exchanges[0]].replace(b"message_stop", b"message_stub")
    else:
        seen = answered(b"event: of an answer that nobody recorded")
    (tmp_path / "trace.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(AssertionError, match="CORRUPTED"):
        sessions.recorded(seen, tmp_path)


@pytest.mark.parametrize(
    "error", [AssertionError("Claude Code did not end"), subprocess.TimeoutExpired("claude", 1.0), OSError("full")]
)
def test_a_session_that_fails_is_told_and_the_rest_goes_on(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> tuple[int, int]:
        raise error

    monkeypatch.setattr(sessions, "session", fails)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = sessions.outcome(case())
    assert type(error).__name__ in ended.failed
    figures = sessions.summary([ended])
    assert (figures["completed"], figures["ended"]) == (0, 1)
    assert "session 0: cut before content at step" in figures["failed"][0]
    assert figures["hangs"] == ("did not end" in str(error))
