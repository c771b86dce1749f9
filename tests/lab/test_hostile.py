"""Traces that somebody spoiled: whatever is read of them, there are sentences and no stack traces."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.trace.exports import FORMATS
from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.trace.scrub import scrubbed
from anyclaude_lab.trace.verify import secrets_in
from tests.trace.record_sessions import BUNDLED

SCRIPTED = lab.variant("a", backend="scripted")


def replayed(file: Path) -> None:
    lab.replay(lab.load(file), [SCRIPTED], progress=False, turns_per_session=1)


def tables(file: Path) -> None:
    traces = lab.load(file)
    assert len(traces.blocks) >= 0 and len(traces.events) >= 0


def every_export(file: Path) -> None:
    trace = read_trace(file)
    for _, export in FORMATS.values():
        export([trace])


READERS: dict[str, Callable[[Path], object]] = {
    "tables": tables,
    "replay": replayed,
    "exports": every_export,
    "secrets": lambda file: scrubbed(read_trace(file), "secrets"),
    "shape": lambda file: scrubbed(read_trace(file), "shape"),
    "verify": lambda file: secrets_in(read_trace(file)),
}


def spoiled(value: Any, rng: random.Random) -> Any:
    """The value with a few fields gone and a few of another type."""
    junk: list[Any] = [None, 5, "x", [], {}, True]
    if isinstance(value, dict):
        kept = dict(value)
        if kept and rng.random() < 0.1:
            kept.pop(rng.choice(list(kept)))
        return {k: rng.choice(junk) if rng.random() < 0.03 else spoiled(v, rng) for k, v in kept.items()}
    if isinstance(value, list):
        return [rng.choice(junk) if rng.random() < 0.02 else spoiled(v, rng) for v in value]
    return value


@pytest.mark.parametrize("seed", range(30))
def test_what_is_spoiled_is_left_out(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    lines = [json.loads(line) for line in (BUNDLED / "short-fix.jsonl").read_bytes().splitlines()]
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(spoiled(line, rng) if rng.random() < 0.5 else line) + "\n" for line in lines))
    for name, reader in READERS.items():
        try:
            reader(file)
        except AnyclaudeError as sentence:
            assert str(file) in sentence.message or "replay" in sentence.message, name
