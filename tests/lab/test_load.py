"""Traces as tables: one row for each thing, units in names, unknown is null."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.answers import read_answer
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.trace.record import Encoder, Entry, Recording
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.wire.events import block_start, block_stop, json_delta, message_delta, message_stop, ping, text_delta
from tests.trace.record_sessions import BUNDLED


@pytest.fixture(scope="module")
def traces() -> Traces:
    found: Traces = lab.load(BUNDLED)
    return found


def test_every_exchange_is_a_turn_and_every_lane_counts_its_own(traces: Traces) -> None:
    recorded = sum(len(read_trace(file).exchanges) for file in BUNDLED.glob("*.jsonl"))
    turns = traces.turns
    assert len(turns) == recorded == traces.sessions["n_turns"].sum()
    for _, lane in turns.groupby("lane"):
        assert list(lane["turn"]) == list(range(len(lane)))
    assert turns["started_s"].groupby(turns["session"]).is_monotonic_increasing.all()


def test_roles_of_a_session_with_helpers(traces: Traces) -> None:
    session = traces.sessions.set_index("file").filter(like="subagents", axis=0)["session"].iloc[0]
    lanes = traces.turns[traces.turns["session"] == session].groupby("lane")["role"].first()
    assert sorted(lanes) == ["helper", "main", "subagent", "subagent"]


def test_prompt_tokens_are_the_sum_of_cached_and_uncached(traces: Traces) -> None:
    turns = traces.turns
    assert (turns["prompt_tokens"] == turns["prompt_tokens_cached"] + turns["prompt_tokens_uncached"]).all()
    assert turns["prompt_tokens"].dtype == "Int64"


def test_calls_and_tools_belong_to_turns(traces: Traces) -> None:
    calls = traces.tool_calls.merge(traces.turns, on=["session", "lane", "turn"], validate="many_to_one")
    assert len(calls) == len(traces.tool_calls) == traces.turns["n_tool_calls"].sum()
    assert traces.tool_calls["parsed"].all()
    assert traces.tool_calls["offered"].all()
    assert {"ToolSearch", "mcp__tickets__find", "Edit"} <= set(traces.tools["tool"])
    assert traces.tools.query("tool == 'mcp__tickets__find'")["deferred"].all()


def test_blocks_are_told_once_for_a_session(traces: Traces) -> None:
    assert not traces.blocks.duplicated(["session", "section", "blob"]).any()
    assert traces.events["offset_s"].notna().all()
    assert (traces.events["type"] == "message_start").sum() == len(traces.turns)


def test_tables_know_what_they_rest_on(traces: Traces) -> None:
    for table in (traces.sessions, traces.turns, traces.tool_calls):
        assert table.attrs["metrics_version"] == 1
    assert list(traces.turns["role"].cat.categories) == ["main", "subagent", "helper"]


def entry(session: str, body: bytes, started: float = 0.0) -> Entry:
    return Entry(session, {"lane": session}, 200, body, Recording(started, []))


def test_damage_and_emptiness_are_told_and_the_rest_is_loaded(tmp_path: Path) -> None:
    encoder = Encoder(Redaction(b"k"))
    (tmp_path / "a.jsonl").write_bytes(encoder.start() + encoder.lines(entry("s", b'{"model":"m","messages":[]}'))[0])
    (tmp_path / "b.jsonl").write_bytes(encoder.start())
    (tmp_path / "c.jsonl").write_bytes(b'{"kind":')
    (tmp_path / "d.jsonl").write_bytes(encoder.start() + encoder.lines(entry("d", b"no JSON at all"))[0])
    traces = lab.load(tmp_path)
    assert list(traces.sessions["session"]) == ["s", "d"]
    assert len(traces.tools) == len(traces.tool_calls) == 0
    assert {"session", "tool"} <= set(traces.tools.columns)
    assert traces.turns["ttft_s"].isna().all()
    assert traces.turns["prompt_tokens"].isna().all()
    assert ["b.jsonl" in traces.complaints[0], "c.jsonl" in traces.complaints[1]] == [True, True]


def test_nothing_to_load_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No trace was found"):
        lab.load(tmp_path)
    with pytest.raises(SettingsError, match="There is no"):
        lab.load(tmp_path / "nowhere")


def test_two_writers_of_one_file_are_two_clocks(tmp_path: Path) -> None:
    first, second = Encoder(Redaction(b"k")), Encoder(Redaction(b"k"))
    body = b'{"model":"m","messages":[{"role":"user","content":"%d"}]}'
    data = first.start() + first.lines(entry("s", body % 1, 100.0))[0] + second.start()
    (tmp_path / "a.jsonl").write_bytes(data + second.lines(entry("s", body % 2, 1.0))[0])
    assert list(lab.load(tmp_path).turns["started_s"]) == [100.0, 1.0]


def test_the_first_content_is_content_of_any_kind() -> None:
    tool = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    events = [
        (0.5, ping()),
        (1.0, block_start(0, tool)),
        (1.5, json_delta(0, '{"file_path":')),
        (2.0, json_delta(0, '"/a"}')),
        (2.5, block_stop(0)),
        (3.0, block_start(1, {"type": "text", "text": ""})),
        (3.5, text_delta(1, "done")),
        (4.0, block_stop(1)),
        (4.5, message_delta("tool_use", {"output_tokens": 6})),
        (5.0, message_stop()),
    ]
    answer = read_answer([(at, event.encode().decode()) for at, event in events])
    assert (answer.ttft_s, answer.ttft_visible_s, answer.tt_tool_s, answer.tt_tool_complete_s) == (1.0, 3.5, 1.0, 2.5)
    assert answer.calls[0].input == {"file_path": "/a"}
    assert (answer.last_s, answer.stop_reason, answer.text) == (3.5, "tool_use", "done")
    torn = read_answer([(1.0, "".join(event.encode().decode() for _, event in events[:3]))])
    assert torn.calls[0].input is None


def test_the_package_is_cheap_and_its_names_are_there() -> None:
    assert "load" in dir(lab)
    assert isinstance(lab.load(BUNDLED).sessions, pd.DataFrame)
    with pytest.raises(AttributeError):
        lab.nothing  # noqa: B018 - looking is the test
