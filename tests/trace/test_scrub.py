"""Traces fit to be shared: nothing readable, and the same questions about caches have the same answers."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from anyclaude_lab.trace.read import Trace, read_trace
from anyclaude_lab.trace.scrub import scrubbed
from tests.standins import grammar
from tests.trace.record_sessions import BUNDLED

FILES = sorted(BUNDLED.glob("*.jsonl"))
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def reread(trace: Trace, mode: str, tmp_path: Path) -> Trace:
    made = tmp_path / "made.jsonl"
    made.write_bytes(scrubbed(trace, mode))
    again = read_trace(made)
    assert again.complaints == []
    assert again.origin["redaction"] == mode
    return again


@each
def test_scrubbing_what_is_clean_changes_nothing(file: Path, tmp_path: Path) -> None:
    trace = read_trace(file)
    again = reread(trace, "secrets", tmp_path)
    assert [(e.body, e.pieces, e.lane) for e in again.exchanges] == [
        (e.body, e.pieces, e.lane) for e in trace.exchanges
    ]


def test_a_secret_in_an_old_trace_goes(tmp_path: Path) -> None:
    trace = read_trace(BUNDLED / "short-fix.jsonl")
    secret = "sk-ant-api03-" + "Qq7" * 20
    trace.blobs = {name: text.replace("basket", secret) for name, text in trace.blobs.items()}
    for exchange in trace.exchanges:
        exchange.blobs = trace.blobs
    again = reread(trace, "secrets", tmp_path)
    assert "Qq7" not in (tmp_path / "made.jsonl").read_text()
    assert not any(e.data["request"]["exact"] for e in again.exchanges)


@each
def test_the_shape_can_not_be_read_but_counted(file: Path, tmp_path: Path) -> None:
    trace = read_trace(file)
    again = reread(trace, "shape", tmp_path)
    text = (tmp_path / "made.jsonl").read_text()
    for word in ("You repair", "srv/", "python -m"):
        assert word not in text
    for before, after in zip(trace.exchanges, again.exchanges, strict=True):
        assert _lengths(json.loads(after.body)) == _lengths(json.loads(before.body))
        assert grammar.violations(after.answer.encode()) == []
        assert len(grammar.events(after.answer.encode())) == len(grammar.events(before.answer.encode()))
    assert _shared(again) == _shared(trace)


def _lengths(value: object) -> object:
    """A JSON value with every text as its length."""
    if isinstance(value, dict):
        return {key: _lengths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_lengths(inner) for inner in value]
    return len(value) if isinstance(value, str) else value


def _shared(trace: Trace) -> list[list[bool]]:
    """Which blobs of consecutive prompts are the same."""
    prompts = [[s for s in exchange.segments if not s.startswith("=")] for exchange in trace.exchanges]
    return [[a == b for a, b in zip(x, y, strict=False)] for x, y in pairwise(prompts)]
