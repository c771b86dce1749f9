"""Recordings of other programs: their exchanges arrive whole and without secrets, damage is named, the rest goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from anyclaude_lab.trace.exports import FORMATS
from anyclaude_lab.trace.imports import import_all
from anyclaude_lab.trace.read import Recorded, read_trace
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.fold import fold, unfold
from tests.standins import grammar
from tests.trace.record_sessions import BUNDLED

KEY = "sk-ant-api03-" + "Zz9" * 20
API = "https://api.anthropic.com/v1/messages"
SESSION = "11111111-2222-4333-8444-555555555555"
HEADERS = {"X-Claude-Code-Session-Id": SESSION, "X-Api-Key": KEY, "content-type": "application/json"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "/a"}}


def message(name: str, block: dict[str, Any], stop_reason: str, **usage: int) -> dict[str, Any]:
    head = {"id": name, "type": "message", "role": "assistant", "model": "m", "content": [block]}
    return head | {"stop_reason": stop_reason, "stop_sequence": None, "usage": usage}


ANSWERS = [
    message("msg_1", CALL, "tool_use", input_tokens=7, cache_read_input_tokens=3, output_tokens=5),
    message("msg_2", {"type": "text", "text": f"done {KEY}"}, "end_turn", input_tokens=9, output_tokens=2),
]
ASKED: list[dict[str, Any]] = [{"role": "user", "content": "read /a"}]
HISTORY = [
    *ASKED,
    {"role": "assistant", "content": ANSWERS[0]["content"]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "text"}]},
]
BODIES = [{"model": "m", "max_tokens": 9, "messages": messages} for messages in (ASKED, HISTORY)]
STREAMS = [b"".join(event.encode() for event in unfold(answer)).decode() for answer in ANSWERS]


def seed(folder: Path) -> Path:
    """What anyclaude writes: the first file of a pair has no response yet."""
    for number, (body, stream) in enumerate(zip(BODIES, STREAMS, strict=True)):
        trace: dict[str, Any] = {
            "timestamp": f"2026-11-20T10:00:0{number}.000Z",
            "mode": "claude",
            "request": {"method": "POST", "url": "/v1/messages", "headers": HEADERS, "body": body},
            "response": {"statusCode": 200, "headers": {}, "body": stream},
        }
        (folder / f"{number}.json").write_text(json.dumps(trace, indent=2))
    return folder


def claude_trace(folder: Path) -> Path:
    lines = []
    for n, (body, stream) in enumerate(zip(BODIES, STREAMS, strict=True)):
        request = {"timestamp": 1763632800.5 + n, "method": "POST", "url": f"{API}?beta=true", "headers": HEADERS}
        response = {"timestamp": 1763632801.0 + n, "status_code": 200, "headers": {}, "body_raw": stream}
        lines.append({"request": request | {"body": body}, "response": response})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def har(folder: Path) -> Path:
    headers = [{"name": name, "value": value} for name, value in HEADERS.items()]
    entries: list[dict[str, Any]] = [{"request": {"method": "GET", "url": "https://example.com/"}, "response": {}}]
    for n, (body, stream) in enumerate(zip(BODIES, STREAMS, strict=True)):
        request = {"method": "POST", "url": API, "headers": headers, "postData": {"text": json.dumps(body)}}
        response = {"status": 200, "headers": [], "content": {"text": stream}}
        times = {"startedDateTime": f"2026-11-20T10:00:0{n}Z", "time": 1500}
        entries.append(times | {"request": request, "response": response})
    (folder / "net.har").write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return folder


def raw_bodies(folder: Path, *, index: bool = False) -> Path:
    for number, (body, answer) in enumerate(zip(BODIES, ANSWERS, strict=True)):
        user = json.dumps({"device_id": "0a" * 32, "session_id": SESSION})
        files = (folder / f"uuid{number}.request.json", folder / f"req_{9 - number}.response.json")
        files[0].write_text(json.dumps(body | {"metadata": {"user_id": user}}))
        files[1].write_text(json.dumps(answer))
        os.utime(files[0], (1000, 1000) if index else (1000 + 10 * number,) * 2)
        os.utime(files[1], (1100 - 5 * number if index else 1005 + 10 * number,) * 2)
        if index:
            with (folder / "index.jsonl").open("a") as lines:
                lines.write(json.dumps({"request_file": files[0].name, "response_file": files[1].name}) + "\n")
    return folder


SOURCES: dict[str, Callable[[Path], Path]] = {
    "seed": seed,
    "claude-trace": claude_trace,
    "har": har,
    "raw-bodies": raw_bodies,
    "raw-bodies with an index": lambda folder: raw_bodies(folder, index=True),
}


def said(exchange: Recorded) -> Any:
    answer = exchange.answer
    if answer.startswith("{"):
        return json.loads(answer)["content"]
    return fold([Event(name or "", data) for name, data in grammar.events(answer.encode())])["content"]


@pytest.mark.parametrize("kind", SOURCES)
def test_both_exchanges_of_a_session_arrive(kind: str, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    done = import_all([SOURCES[kind](tmp_path / "from")], tmp_path / "traces")
    assert done.complaints == []
    assert done.exchanges == 2
    (file,) = done.files
    trace = read_trace(file)
    first, second = trace.exchanges
    assert first.session == second.session == SESSION
    assert first.lane == second.lane
    assert [json.loads(e.body)["messages"] for e in trace.exchanges] == [ASKED, HISTORY]
    assert said(first) == ANSWERS[0]["content"]
    assert [e.data["stop_reason"] for e in trace.exchanges] == ["tool_use", "end_turn"]
    assert first.data["usage"] == {"prompt_tokens": 10, "cached_tokens": 3, "output_tokens": 5}
    assert second.data["usage"]["cached_tokens"] is None, "what was not said is not 0"
    assert first.data["request"]["exact"] is (kind == "har")
    stored = file.read_text()
    assert KEY not in stored
    assert "Zz9" not in stored
    assert "0a0a0a" not in stored


DAMAGED = {
    "torn.json": ('{"timestamp": "20', "line 1"),
    "other.json": ('{"name": "package"}', "no trace of anyclaude"),
    "early.json": (
        json.dumps({"timestamp": "2026-11-20T10:00:00Z", "request": {"body": BODIES[0]}}),
        "holds no response",
    ),
    "other.har": ('{"log": {"entries": [{"request": {"method": "GET", "url": "x"}}]}}', "none of its 1 entries"),
    "none.har": ("[]", "no HTTP archive"),
    "torn.jsonl": ('{"request": {"url": "https://x/v1/messages"}, "response": {"status_code": 2}}\n{"req', "line 2"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_place_and_the_rest_is_imported(name: str, tmp_path: Path) -> None:
    content, sentence = DAMAGED[name]
    folder = seed(tmp_path)
    (folder / name).write_text(content)
    done = import_all([folder], tmp_path / "traces")
    assert done.exchanges == 2
    assert any(sentence in complaint for complaint in done.complaints)
    assert all(str(folder / name) in complaint for complaint in done.complaints)


def test_what_is_unknown_or_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    done = import_all([tmp_path / "notes.txt", tmp_path / "nowhere"], tmp_path / "traces")
    assert ".txt" in done.complaints[0]
    assert "nowhere" in done.complaints[1]


def test_our_own_archive_comes_back_whole(tmp_path: Path) -> None:
    trace = read_trace(BUNDLED / "short-fix.jsonl")
    suffix, export = FORMATS["har"]
    (tmp_path / f"a{suffix}").write_bytes(export([trace]))
    done = import_all([tmp_path], tmp_path / "traces")
    assert done.complaints == []
    again = read_trace(done.files[0])
    assert [e.body for e in again.exchanges] == [e.body for e in trace.exchanges]
    assert [e.pieces for e in again.exchanges] == [e.pieces for e in trace.exchanges]
    assert all(e.data["request"]["exact"] for e in again.exchanges)


def test_open_telemetry_counts_cached_tokens_as_input() -> None:
    trace = read_trace(BUNDLED / "images-parallel.jsonl")
    told = orjson.loads(FORMATS["otel"][1]([trace]))
    spans = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len(spans) == len(trace.exchanges)
    assert len({span["traceId"] for span in spans}) == 1
    for span, exchange in zip(spans, trace.exchanges, strict=True):
        attributes = {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}
        assert int(attributes["gen_ai.usage.input_tokens"]) == exchange.data["usage"]["prompt_tokens"]
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    assert "Read the file" not in json.dumps(told)


def test_mooncake_blocks_are_shared_as_far_as_prompts_are() -> None:
    trace = read_trace(BUNDLED / "long-compaction.jsonl")
    lines = [orjson.loads(line) for line in FORMATS["mooncake"][1]([trace]).splitlines()]
    assert len(lines) == len(trace.exchanges)
    for before, after in pairwise(lines[:9]):
        assert after["hash_ids"][: len(before["hash_ids"]) - 1] == before["hash_ids"][:-1]
    for line in lines:
        assert len(line["hash_ids"]) == -(-line["input_length"] // 512)


def test_the_streams_of_this_file_are_legal() -> None:
    """Else the importers would be tested on nonsense."""
    for stream in STREAMS:
        assert grammar.violations(stream.encode()) == []
