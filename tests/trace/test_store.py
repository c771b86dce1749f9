"""The file: whole lines whatever happens, bounded, private; and what reading it says about damage."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.trace import record
from anyclaude_lab.trace.read import DamagedTrace, read_trace
from anyclaude_lab.trace.record import Entry, Recording, line
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.store import Recorder

RULES = Redaction(b"k")
BODY = b'{"model":"m","messages":[]}'


def recording(*pieces: bytes) -> Recording:
    noted = Recording()
    for piece in pieces:
        noted.wrote(piece)
    return noted


def entry(
    session: str = "0a1b2c3d-0000", *, body: bytes = BODY, pieces: tuple[bytes, ...] = (b"x",), **fields: Any
) -> Entry:
    return Entry(session, {"ending": "complete"}, 200, body, recording(*pieces), **fields)


def written(folder: Path) -> list[dict[str, Any]]:
    return [exchange for file in sorted(folder.iterdir()) for exchange in read_trace(file)[0]]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(0, 200)))
def test_pieces_are_the_stream_wherever_it_was_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = tuple(data[a:b] for a, b in pairwise(places))
    found = orjson.loads(line(entry(pieces=pieces), RULES))["response"]
    assert "".join(piece for _, piece in found["pieces"]) == RULES.stream(text)
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert found["exact"] is (found["sha256"] == found["stored_sha256"]) is (RULES.stream(text) == text)
    assert len(found["pieces"]) == len(pieces)


def test_headers_are_kept_by_a_list_of_names() -> None:
    given_headers = [("X-Api-Key", "a"), ("Anthropic-Beta", "b"), ("X-Claude-Code-Session-Id", "c"), ("X-New", "d")]
    found = orjson.loads(line(entry(request_headers=given_headers), RULES))
    assert found["request"]["headers"] == [["anthropic-beta", "b"], ["x-claude-code-session-id", "c"]]


def test_a_compressed_answer_that_breaks_off_or_swells_is_read_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record, "MAX_RESPONSE_BYTES", 1000)
    gzip = zlib.compressobj(wbits=31)
    small = gzip.compress(b"start ") + gzip.flush(zlib.Z_SYNC_FLUSH)
    bomb = gzip.compress(b"0" * 1_000_000) + gzip.flush()
    for pieces in ((small, bomb), (small, b"not gzip")):
        packed = entry(pieces=pieces, response_headers=[("Content-Encoding", "gzip")])
        found = orjson.loads(line(packed, RULES))["response"]
        assert found["pieces"][0][1] == "start "
        assert sum(len(text) for _, text in found["pieces"]) <= 1000
        assert found["exact"] is False


def test_an_unknown_compression_is_named_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(line(entry(response_headers=[("content-encoding", "br")]), RULES))
    ((exchange,), _) = read_trace(file)
    assert exchange["response"]["unread"] == "compressed as br"


def test_a_huge_answer_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_RESPONSE_BYTES", 10)
    found = orjson.loads(line(entry(pieces=(b"12345", b"67890", b"!")), RULES))["response"]
    assert "".join(text for _, text in found["pieces"]) == "1234567890"
    assert found["exact"] is False


def test_sessions_have_files_of_their_own_with_harmless_names(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "t", RULES)
    for session in ("../../etc/passwd", "0a1b2c3d-1", "0a1b2c3d-2", "", "/"):
        recorder.put(entry(session))
    recorder.close()
    names = sorted(file.name[11:] for file in (tmp_path / "t").iterdir())
    assert names == ["0a1b2c3d.jsonl", "etcpassw.jsonl", "unnamed.jsonl"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_queue_drops_and_counts_but_takes_one_of_any_size(tmp_path: Path) -> None:
    dropped: list[None] = []
    gate = threading.Event()

    class Slow(Redaction):
        def text(self, text: str) -> str:
            assert gate.wait(30)
            return text

    recorder = Recorder(tmp_path, Slow(b"k"), on_drop=lambda: dropped.append(None), queue_cap_bytes=5000)
    recorder.put(entry(body=b"1" * 10_000))
    recorder.put(entry(body=b"2" * 10_000))
    recorder.put(entry(body=b"3" * 10_000))
    assert len(dropped) == 2
    gate.set()
    recorder.close()
    recorder.put(entry())
    assert len(dropped) == 3, "nothing is taken after the end"
    assert [exchange["request"]["body"][0] for exchange in written(tmp_path)] == ["1"]


def test_the_oldest_traces_go_first_and_nothing_else(tmp_path: Path) -> None:
    size = len(line(entry(), RULES))
    for day, name in enumerate(("2026-01-02-old.jsonl", "2026-01-01-new.jsonl", "notes.jsonl"), 1):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (day, day))
    recorder = Recorder(tmp_path, RULES, folder_cap_bytes=int(2.5 * size))
    recorder.put(entry())
    recorder.close()
    assert {"2026-01-01-new.jsonl", "notes.jsonl"} == {f.name for f in tmp_path.iterdir() if "0a1b2c3d" not in f.name}


def test_a_session_that_fills_the_cap_alone_is_kept_up_to_there(tmp_path: Path) -> None:
    dropped: list[None] = []
    troubles: list[str] = []
    size = len(line(entry(), RULES))
    recorder = Recorder(
        tmp_path,
        RULES,
        on_drop=lambda: dropped.append(None),
        on_trouble=troubles.append,
        folder_cap_bytes=3 * size + 50,
    )
    for _ in range(5):
        recorder.put(entry())
    recorder.close()
    assert len(written(tmp_path)) == 3
    assert len(dropped) == 2
    assert len(troubles) == 1


def test_after_a_torn_line_the_next_one_stands_by_itself(tmp_path: Path) -> None:
    for _ in range(2):
        recorder = Recorder(tmp_path, RULES)
        recorder.put(entry())
        recorder.close()
        (file,) = tmp_path.iterdir()
        with file.open("ab") as stream:
            stream.write(b'{"format":"anyclau')
    exchanges, complaints = read_trace(file)
    assert len(exchanges) == 2
    assert [("line 2" in c, "line 4" in c) for c in complaints] == [(True, False), (False, True)]
    assert "torn" in complaints[1]


WRITE = """
import sys
from pathlib import Path
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.store import Recorder
from tests.trace.test_store import entry
recorder = Recorder(Path(sys.argv[1]), Redaction(b"k"))
print("up", flush=True)
while True:
    recorder.put(entry(body=b"x" * 50_000))
    if recorder._queued_bytes > 500_000:
        import time; time.sleep(0.001)
"""


def test_a_killed_writer_leaves_whole_lines(tmp_path: Path) -> None:
    pause = random.Random(7)
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITE, tmp_path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"up\n"
            try:
                writer.wait(pause.uniform(0, 0.1))
            except subprocess.TimeoutExpired:
                writer.kill()
    (file,) = tmp_path.iterdir()
    exchanges, complaints = read_trace(file)
    assert len(complaints) <= 8
    assert len(exchanges) + len(complaints) == len(file.read_bytes().splitlines())
    assert len(exchanges) > len(complaints)


def changed(edit: Callable[[dict[str, Any]], None]) -> bytes:
    exchange = orjson.loads(line(entry(), RULES))
    edit(exchange)
    return orjson.dumps(exchange) + b"\n"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (b"not json\n", "not JSON"),
        (b"[1]\n", "not an exchange"),
        (b'{"log":{"version":"1.2","entries":[]}}\n', "not an exchange"),
        (changed(lambda e: e.update(version=2)), "version 2"),
        (changed(lambda e: e["request"].update(body="{}")), "body does not fit its hash"),
        (changed(lambda e: e["response"].update(pieces=[[0, "y"]])), "answer does not fit its hash"),
        (changed(lambda e: e["response"].pop("pieces")), "missing"),
        (changed(lambda e: e.update(request=[])), "missing"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
    ],
)
def test_a_damaged_line_is_named_and_the_rest_is_read(tmp_path: Path, damage: bytes, sentence: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(line(entry(), RULES) + damage + line(entry(), RULES))
    exchanges, (complaint,) = read_trace(file)
    assert len(exchanges) == 2
    assert complaint.startswith(f"{file}, line 2: ")
    assert sentence in complaint


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "empty"), (b"# notes\n", "not JSON"), (None, "cannot be read")]
)
def test_a_file_without_an_exchange_is_one_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "t.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DamagedTrace, match=sentence):
        read_trace(file)


def test_a_line_beyond_all_bounds_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyclaude_lab.trace.read.MAX_LINE_BYTES", 10_000)
    file = tmp_path / "t.jsonl"
    file.write_bytes(line(entry(), RULES) + b"x" * 20_000 + b"\n" + line(entry(), RULES))
    exchanges, (complaint,) = read_trace(file)
    assert len(exchanges) == 1
    assert "longer than 10000 bytes" in complaint
