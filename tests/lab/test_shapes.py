"""Traces without content: how much of them a cache would reuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import anyclaude_lab as lab
from anyclaude_lab.cli import main
from anyclaude_lab.errors import SettingsError
from tests.trace.record_sessions import BUNDLED


def request(at_s: float, blocks: list[int], tokens: int | None = None) -> dict[str, object]:
    return {"t": at_s, "type": "n", "model": "m", "in": tokens or 64 * len(blocks) + 10, "out": 5, "hash_ids": blocks}


def weka(file: Path, *requests: dict[str, object], name: str = "one") -> Path:
    session = {"id": name, "block_size": 64, "hash_id_scope": "local", "requests": list(requests)}
    file.write_text(json.dumps(session, indent=1))
    return file


def test_a_session_reuses_what_it_sent_before(tmp_path: Path) -> None:
    file = weka(tmp_path / "a.json", request(0, [1, 2]), request(1, [1, 2, 3]), request(2, [1, 9, 3]))
    table = lab.load_shapes(file)
    assert list(table["turn"]) == [0, 1, 2]
    assert list(table["ideal_tokens"]) == list(table["expected_tokens"]) == [0, 128, 64]
    assert table.attrs["complaints"] == []


def test_the_last_token_is_always_computed(tmp_path: Path) -> None:
    table = lab.load_shapes(weka(tmp_path / "a.json", request(0, [1, 2], 128), request(1, [1, 2], 128)))
    assert list(table["expected_tokens"]) == [0, 127]


@pytest.mark.parametrize("offset_s", [0, 10], ids=["its own clock", "the session's clock"])
def test_a_subagent_is_a_lane_of_the_same_scope(tmp_path: Path, offset_s: float) -> None:
    agent = {"t": 10, "type": "subagent", "agent_id": "agent-7", "requests": [request(offset_s + 1, [1, 5])]}
    table = lab.load_shapes(weka(tmp_path / "a.json", request(0, [1, 2]), agent, request(20, [1, 2, 3])))
    assert list(table["lane"]) == ["main", "agent-7", "main"]
    assert list(table["started_s"]) == [0, 11, 20]
    assert list(table["ideal_tokens"]) == [0, 64, 128]


def test_numbers_of_two_sessions_are_not_the_same_blocks(tmp_path: Path) -> None:
    weka(tmp_path / "a.json", request(0, [1, 2]), name="a")
    weka(tmp_path / "b.json", request(1, [1, 2]), name="b")
    assert list(lab.load_shapes(tmp_path)["ideal_tokens"]) == [0, 0]


def test_a_small_cache_forgets(tmp_path: Path) -> None:
    file = weka(tmp_path / "a.json", *[request(at, [10 * (at % 3), 10 * (at % 3) + 1]) for at in range(6)])
    assert list(lab.load_shapes(file, sequences=3)["expected_tokens"]) == [0, 0, 0, 128, 128, 128]
    forgetful = lab.load_shapes(file, sequences=2)
    assert list(forgetful["expected_tokens"]) == [0] * 6
    assert list(forgetful["ideal_tokens"]) == [0, 0, 0, 128, 128, 128]


def test_our_own_export_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "sessions.jsonl"
    assert main(["export", str(BUNDLED), "--to", "mooncake", "--out", str(file)]) == 0
    lines, table = file.read_text().splitlines(), lab.load_shapes(file)
    assert list(table["prompt_tokens"]) == [json.loads(line)["input_length"] for line in lines]
    assert (table["expected_tokens"] <= table["ideal_tokens"]).all()
    assert table["ideal_tokens"].sum() > 0.5 * table["prompt_tokens"].sum()


def test_what_is_no_request_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good = {"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [0]}
    bad = ['{"torn', '{"timestamp": 1}', json.dumps(good | {"hash_ids": ["x"]}), "[3]"]
    file = tmp_path / "trace.jsonl"
    file.write_text("\n".join([*bad, json.dumps(good)]))
    table = lab.load_shapes(file)
    assert len(table) == 1
    assert [f"{file}:{number}:" in told for number, told in enumerate(table.attrs["complaints"], 1)] == [True] * 4


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_a_file_of_something_else_is_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    with pytest.raises(SettingsError, match="No request was found in"):
        lab.load_shapes(file)
    with pytest.raises(SettingsError, match="There is no"):
        lab.load_shapes(tmp_path / "nowhere.json")
