"""The file: whole lines whatever happens, bounded, private; and what reading it says about damage."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude_lab.trace import record, segments
from anyclaude_lab.trace.files import DamagedTrace, sources
from anyclaude_lab.trace.read import Recorded, read_trace
from anyclaude_lab.trace.record import Encoder, Entry, Recording
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.store import Recorder
from anyclaude_lab.wire.events import text_delta
from tests.processes import until
from tests.standins import grammar
from tests.standins.http import wait_until
from tests.trace.secrets import PLANTED

RULES = Redaction(b"k")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


def recording(*pieces: bytes) -> Recording:
    noted = Recording()
    for piece in pieces:
        noted.wrote(piece)
    return noted


def entry(
    session: str = "0a1b2c3d-0000", *, body: bytes = BODY, pieces: tuple[bytes, ...] = (b"x",), **fields: Any
) -> Entry:
    return Entry(session, {"ending": "complete"}, 200, body, recording(*pieces), **fields)


def encoded(*exchanges: Entry) -> bytes:
    """A whole file."""
    encoder = Encoder(RULES)
    return encoder.start() + b"".join(encoder.lines(each)[0] for each in exchanges)


def alone(exchange: Entry) -> dict[str, Any]:
    """The exchange's own line, blobs aside."""
    found: dict[str, Any] = orjson.loads(encoded(exchange).splitlines()[-1])
    return found


def written(folder: Path) -> list[Recorded]:
    return [exchange for file in sorted(folder.iterdir()) for exchange in read_trace(file).exchanges]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(0, 200)))
def test_pieces_are_the_stream_wherever_it_was_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = tuple(data[a:b] for a, b in pairwise(places))
    found = alone(entry(pieces=pieces))["response"]
    assert "".join(piece for _, piece in found["pieces"]) == RULES.stream(text)
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert found["exact"] is (found["sha256"] == found["stored_sha256"]) is (RULES.stream(text) == text)
    assert len(found["pieces"]) == len(pieces)


def test_headers_are_kept_by_a_list_of_names() -> None:
    given_headers = [("X-Api-Key", "a"), ("Anthropic-Beta", "b"), ("X-Claude-Code-Session-Id", "c"), ("X-New", "d")]
    found = alone(entry(request_headers=given_headers))
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
        found = alone(packed)["response"]
        assert found["pieces"][0][1] == "start "
        assert sum(len(text) for _, text in found["pieces"]) <= 1000
        assert found["exact"] is False


def test_an_unknown_compression_is_named_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(encoded(entry(response_headers=[("content-encoding", "br")])))
    (exchange,) = read_trace(file).exchanges
    assert exchange.data["response"]["unread"] == "compressed as br"


def test_a_huge_answer_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_RESPONSE_BYTES", 10)
    found = alone(entry(pieces=(b"12345", b"67890", b"!")))["response"]
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
            assert gate.wait(60)
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
    assert [exchange.body[0] for exchange in written(tmp_path)] == ["1"]


def test_the_oldest_traces_go_first_and_nothing_else(tmp_path: Path) -> None:
    size = len(encoded(entry()))
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
    size = len(encoded(entry()))
    recorder = Recorder(
        tmp_path,
        RULES,
        on_drop=lambda: dropped.append(None),
        on_trouble=troubles.append,
        folder_cap_bytes=3 * size + 50,
    )
    for _ in range(10):
        recorder.put(entry())
    recorder.close()
    kept = len(written(tmp_path))
    assert 3 <= kept < 10
    assert len(dropped) == 10 - kept
    assert len(troubles) == 1


def test_after_a_torn_line_the_next_one_stands_by_itself(tmp_path: Path) -> None:
    for _ in range(2):
        recorder = Recorder(tmp_path, RULES)
        recorder.put(entry())
        recorder.close()
        (file,) = tmp_path.iterdir()
        with file.open("ab") as stream:
            stream.write(b'{"format":"anyclau')
    trace = read_trace(file)
    assert len(trace.exchanges) == 2
    assert ["line 4" in trace.complaints[0], "line 8" in trace.complaints[1]] == [True, True]
    assert "torn" in trace.complaints[1]


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
        before = recorded(tmp_path)
        with subprocess.Popen([sys.executable, "-c", WRITE, tmp_path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"up\n"
            until(lambda: recorded(tmp_path) > before + 1, "it writes")  # noqa: B023 - called at once
            try:
                writer.wait(pause.uniform(0, 0.1))
            except subprocess.TimeoutExpired:
                writer.kill()
    (file,) = tmp_path.iterdir()
    trace = read_trace(file)
    assert len(trace.complaints) <= 8
    assert all("torn" in complaint or "not JSON" in complaint for complaint in trace.complaints)
    assert len(trace.exchanges) == file.read_bytes().count(b'{"kind":"exchange"') - sum(
        b'{"kind":"exchange"' in line and not whole(line) for line in file.read_bytes().splitlines()
    )
    assert len(trace.exchanges) > len(trace.complaints)


def recorded(folder: Path) -> int:
    return sum(file.read_bytes().count(b'{"kind":"exchange"') for file in folder.iterdir())


def whole(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def conversation(turns: int) -> list[Entry]:
    """A session whose requests grow by one message each."""
    messages = [{"role": "user", "content": f"message {number}, größer"} for number in range(turns)]
    bodies = [orjson.dumps({"model": "m", "messages": messages[: k + 1]}) for k in range(turns)]
    return [entry(body=body, pieces=(b"answer",)) for body in bodies]


def test_wherever_a_file_ends_only_the_record_being_written_is_lost(tmp_path: Path) -> None:
    """A writer that is killed leaves the beginning of what it wrote."""
    encoder = Encoder(RULES)
    held: set[str] = set()
    written, sizes = encoder.start(), []
    for exchange in conversation(6):
        lines, fresh = encoder.lines(exchange, held)
        held.update(fresh)
        written += lines
        sizes.append(len(written))
    points = random.Random(5)
    for _ in range(100):
        end = points.randint(sizes[0], len(written))
        (tmp_path / "t.jsonl").write_bytes(written[:end])
        trace = read_trace(tmp_path / "t.jsonl")
        assert len(trace.exchanges) == sum(size - 1 <= end for size in sizes), "a missing line end is no loss"
        assert len(trace.complaints) <= 1


def test_what_a_session_repeats_is_stored_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, RULES)
    bodies = [exchange.body for exchange in conversation(40)]
    for exchange in conversation(40):
        recorder.put(exchange)
    recorder.close()
    (file,) = tmp_path.iterdir()
    assert [exchange.body.encode() for exchange in read_trace(file).exchanges] == bodies
    assert file.read_bytes().count(b"message 3,") == 1


def test_a_file_that_was_replaced_is_begun_anew(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, RULES)
    for name in ("first", "second"):
        recorder.put(entry(request_headers=[("x-app", name)]))
        wait_until(lambda: any(tmp_path.iterdir()), "a file is there")
        wait_until(lambda: not recorder._queue, "written")
        (file,) = tmp_path.iterdir()
        assert len(read_trace(file).exchanges) == 1
        file.unlink()
    recorder.close()


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["system", "tools", "messages", "model", "x"]), json_texts),
    st.sampled_from([None, 1]),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :")]),
)
def test_segments_are_the_body_however_it_is_spelled(
    body: dict[str, Any], indent: int | None, separators: tuple[str, str]
) -> None:
    text = json.dumps(body, indent=indent, separators=separators, ensure_ascii=False)
    for spelled in (text, f" {text}\n", text[:-1], text + "}", "[" + text):
        blobs: dict[str, str] = {}

        def keep(blob: str, blobs: dict[str, str] = blobs) -> str:
            blobs[segments.blob_id(blob)] = blob
            return segments.blob_id(blob)

        assert segments.joined(segments.stored(segments.cut(spelled), keep), blobs) == spelled


def changed(edit: Callable[[dict[str, Any]], None]) -> bytes:
    exchange = alone(entry())
    edit(exchange)
    return orjson.dumps(exchange) + b"\n"


FUTURE = b'{"kind":"trace","format":"anyclaude-trace","version":99}\n'


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (b"not json\n", "not JSON"),
        (b"[1]\n", "no line of"),
        (b'{"format":"anyclaude-trace","version":99}\n', "version 99"),
        (changed(lambda e: e["request"].update(segments=["={}"])), "body does not fit its hash"),
        (changed(lambda e: e["request"].update(segments=["m0123456789abcdef"])), "blob 0123456789abcdef is missing"),
        (changed(lambda e: e["response"].update(pieces=[[0, "y"]])), "answer does not fit its hash"),
        (changed(lambda e: e["response"].pop("pieces")), "missing"),
        (changed(lambda e: e.update(request=[])), "missing"),
        (changed(lambda e: e["request"].update(segments=["", 5])), "wrong type"),
        (changed(lambda e: e["response"].update(pieces=[[0, 5]])), "wrong type"),
        (changed(lambda e: e.update(started_s="soon")), "wrong type"),
        (b'{"kind":"blob","id":"0123456789abcdef","text":"other"}\n', "blob 0123456789abcdef does not fit its hash"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
    ],
)
def test_a_damaged_line_is_named_and_the_rest_is_read(tmp_path: Path, damage: bytes, sentence: str) -> None:
    file = tmp_path / "t.jsonl"
    first, second = encoded(entry()), encoded(entry())
    file.write_bytes(first + damage + second)
    trace = read_trace(file)
    (complaint,) = trace.complaints
    assert len(trace.exchanges) == 2
    assert complaint.startswith(f"{file}, line 4: ")
    assert sentence in complaint


def test_the_first_version_is_read() -> None:
    text, sha = BODY.decode(), hashlib.sha256(BODY).hexdigest()
    request = {"headers": [], "body": text, "body_exact": True, "body_sha256": sha, "stored_sha256": sha}
    answer = {"status": 200, "pieces": [[0.5, "x"]], "exact": False, "sha256": "", "stored_sha256": blob("x")}
    line = {"format": "anyclaude-trace", "version": 1, "session": "s", "started_s": 0.0, "at": "2026-11-22T10:00:00Z"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.jsonl")
        path.write_bytes(orjson.dumps(line | {"request": request, "response": answer}))
        (exchange,) = read_trace(path).exchanges
    assert (exchange.body, exchange.answer) == (text, "x")


def blob(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"# notes\n", "not JSON"),
        (b'{"log":{"version":"1.2","entries":[]}}\n', "no line of"),
        (FUTURE, "version 99"),
        (None, "cannot be read"),
    ],
)
def test_a_file_without_an_exchange_is_one_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "t.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DamagedTrace, match=sentence):
        read_trace(file)


def test_a_line_beyond_all_bounds_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("read", "files"):
        monkeypatch.setattr(f"anyclaude_lab.trace.{module}.MAX_LINE_BYTES", 10_000)
    file = tmp_path / "t.jsonl"
    file.write_bytes(encoded(entry()) + b"x" * 20_000 + b"\n" + encoded(entry()))
    trace = read_trace(file)
    assert len(trace.exchanges) == 1
    assert "longer than 10000 bytes" in trace.complaints[0]


def test_packed_traces_are_read_and_hostile_archives_are_not(tmp_path: Path) -> None:
    good = encoded(entry())
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(good))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("in/side.jsonl", "../out.jsonl", "/etc/out.jsonl", "c:\\out.jsonl", "notes.txt"):
            archive.writestr(name, good)
    (tmp_path / "c.zip").write_bytes(b"PK no zip")
    found, complaints = sources(tmp_path)
    assert [source.member for source in found] == [None, "in/side.jsonl"]
    assert [len(read_trace(source).exchanges) for source in found] == [1, 1]
    assert len([c for c in complaints if "leads out" in c]) == 3
    assert any("c.zip" in complaint for complaint in complaints)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyclaude_lab.trace.files.FREE_BYTES", 10_000)
    file = tmp_path / "bomb.jsonl.gz"
    file.write_bytes(gzip.compress(b"{}\n" * 3_000_000))
    with pytest.raises(DamagedTrace, match="swells"):
        read_trace(file)


@pytest.mark.parametrize("kind", PLANTED)
@settings(max_examples=5)
@given(data=st.data())
def test_no_secret_reaches_the_disk_however_the_stream_is_cut(kind: str, data: st.DataObject) -> None:
    planted, secret = data.draw(PLANTED[kind])
    cuts = sorted({0, len(planted), *data.draw(st.lists(st.integers(0, len(planted)), max_size=6))})
    events = [text_delta(0, planted[a:b]).encode() for a, b in pairwise(cuts)]
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": planted}], "x": planted})
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder), RULES)
        recorder.put(entry(body=body, pieces=tuple(events), request_headers=[("user-agent", planted)]))
        recorder.close()
        (file,) = Path(folder).iterdir()
        (exchange,) = read_trace(file).exchanges
        text = file.read_text()
    heard = "".join(delta["delta"]["text"] for _, delta in grammar.events(exchange.answer.encode()))
    spelled = json.dumps(secret)[1:-1]
    for found in (text, text.replace("\\\\", "\\"), heard, exchange.body):
        assert secret not in found
        assert spelled not in found
