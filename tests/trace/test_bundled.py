"""The sessions in traces/: whole, verified, explained, and free of secrets."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.wire.request import parse_request
from tests.standins import grammar
from tests.trace.record_sample import BUNDLED, NAME, record
from tests.trace.secrets import SUSPECT

FILES = sorted(BUNDLED.glob("*.jsonl"))
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def test_there_is_a_session_and_every_one_is_explained() -> None:
    assert BUNDLED / NAME in FILES
    page = (BUNDLED / "README.md").read_text()
    assert [file.name for file in FILES if f"`{file.name}`" not in page] == []


@each
def test_every_line_is_whole_and_fits_its_hashes(file: Path) -> None:
    exchanges, complaints = read_trace(file)
    assert complaints == []
    for exchange in exchanges:
        parse_request(exchange["request"]["body"].encode())
        answer = "".join(text for _, text in exchange["response"]["pieces"]).encode()
        assert grammar.violations(answer) == []
        assert exchange["request"]["body_exact"] is exchange["response"]["exact"] is True


@each
def test_no_session_holds_a_secret(file: Path) -> None:
    for exchange in read_trace(file)[0]:
        text = json.dumps(exchange)
        assert SUSPECT.findall(text) == []
        assert Redaction(b"k").text(text) == text


def test_the_scan_finds_a_planted_secret() -> None:
    assert SUSPECT.search('{"body":"key sk-ant-' + 'api03-x"}')
    assert SUSPECT.search("see /home/" + "ada/x")


async def test_the_script_makes_the_bundled_session(tmp_path: Path) -> None:
    made, bundled = (read_trace(file)[0] for file in (await record(tmp_path), BUNDLED / NAME))
    assert [turn["stop_reason"] for turn in made] == [turn["stop_reason"] for turn in bundled]
    assert [_shape(turn["request"]["body"]) for turn in made] == [_shape(turn["request"]["body"]) for turn in bundled]
    for before, after in pairwise(made):
        history = json.loads(before["request"]["body"])["messages"]
        assert json.loads(after["request"]["body"])["messages"][: len(history)] == history


def _shape(body: str) -> object:
    """The request without the ids of its calls, which are new each time."""
    request = json.loads(body)
    for message in request["messages"]:
        for block in message["content"]:
            for name in ("id", "tool_use_id", "signature"):
                block.pop(name, None)
    return request
