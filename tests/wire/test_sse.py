"""Rule 29: server-sent events, however they are spelled and cut."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.errors import BackendFailed
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.sse import SseItem, SseParser
from tests.wire.strategies import cut_places, cuts, json_objects, names

SPELLINGS = {
    "with a space": b"data: x\n\n",
    "without a space": b"data:x\n\n",
    "CRLF": b"data: x\r\n\r\n",
    "CR": b"data: x\r\r",
    "CR and CRLF": b"data: x\r\r\n",
    "LF and CRLF": b"data: x\n\r\n",
    "CRLF and LF": b"data: x\r\n\n",
    "byte order mark": b"\xef\xbb\xbfdata: x\n\n",
    "other fields": b"id: 7\nretry: 10\ndata: x\nnonsense\n\n",
}


def parse(chunks: list[bytes]) -> list[SseItem]:
    parser = SseParser()
    return [item for chunk in chunks for item in parser.feed(chunk)] + parser.close()


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("raw", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_frames_in_every_spelling(raw: bytes) -> None:
    assert parse([raw]) == parse(one_by_one(raw)) == [SseItem(None, b"x", None, raw)]


def test_an_event_has_its_name() -> None:
    raw = b"event: ping\ndata: {}\n\n"
    assert parse([raw]) == [SseItem("ping", b"{}", None, raw)]


def test_only_one_space_belongs_to_the_colon() -> None:
    assert [item.data for item in parse([b"data:  x \n\n"])] == [b" x "]


def test_data_lines_are_joined() -> None:
    assert [item.data for item in parse([b"data: a\ndata\ndata: b\n\n"])] == [
        b"a\n\nb"
    ]  # `data` alone is an empty line


def test_comments_are_surfaced() -> None:
    items = parse([b": keepalive 512/2048\n\n: OPENROUTER PROCESSING\n\ndata: x\n\n"])
    assert [(item.comment, item.data) for item in items] == [
        ("keepalive 512/2048", None),
        ("OPENROUTER PROCESSING", None),
        (None, b"x"),
    ]


def test_a_comment_inside_an_event_is_kept_with_it() -> None:
    assert [(i.event, i.data, i.comment) for i in parse([b"event: a\n: c\ndata: x\n\n"])] == [("a", b"x", "c")]


@pytest.mark.parametrize("chunks", [[b"data: x\n\n"], [b"data: x\n", b"\n"]], ids=["whole", "cut"])
def test_a_frame_is_given_out_with_its_blank_line(chunks: list[bytes]) -> None:
    parser = SseParser()
    assert [bool(parser.feed(chunk)) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert parser.close() == []


def test_a_body_that_stops_early_leaves_an_incomplete_item() -> None:
    assert parse([b"data: x\n\ndata: y"]) == [
        SseItem(None, b"x", None, b"data: x\n\n"),
        SseItem(None, b"y", None, b"data: y", complete=False),
    ]


def test_a_frame_that_waited_for_a_line_feed_is_complete() -> None:
    parser = SseParser()
    assert parser.feed(b"data: x\r\r") == []  # the second CR may become CRLF
    assert parser.close() == [SseItem(None, b"x", None, b"data: x\r\r")]


def test_a_letter_cut_in_its_middle_is_whole() -> None:
    raw = "data: ä€😀\n\n".encode()
    assert [item.data for item in parse(one_by_one(raw))] == ["ä€😀".encode()]


sse_bytes = st.lists(
    st.sampled_from(
        [b"data: x", b"data:", b": c", b"event: e", b"\n", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"q"]
    ),
    max_size=30,
).map(b"".join)


@given(sse_bytes, cut_places)
def test_items_do_not_depend_on_how_the_bytes_were_cut(data: bytes, places: list[int]) -> None:
    assert parse(cuts(data, places)) == parse([data]) == parse(one_by_one(data))


@given(st.one_of(sse_bytes, st.binary(max_size=200)), cut_places)
def test_frames_joined_are_the_input(data: bytes, places: list[int]) -> None:
    assert b"".join(item.raw for item in parse(cuts(data, places))) == data


def test_an_absurd_event_ends_with_an_error_not_with_the_memory() -> None:
    parser = SseParser(max_frame_bytes=1000)
    good = parser.feed(b"data: fine\n\n" + b"x" * 1001)
    assert [item.data for item in good] == [b"fine"]
    with pytest.raises(BackendFailed, match="1000 bytes"):
        parser.feed(b"x")
    assert b"".join(item.raw for item in parser.close()) == b"x" * 1001


def test_many_large_frames_pass_under_the_cap() -> None:
    frame = b"data: " + b"x" * 900 + b"\n\n"
    parser = SseParser(max_frame_bytes=1000)
    assert sum(len(parser.feed(frame)) for _ in range(50)) == 50


def test_no_byte_is_searched_over_and_over() -> None:
    class Counting(SseParser):
        searched_bytes = 0

        def _frame_end(self, source: bytes | bytearray, start: int) -> int:
            self.searched_bytes += len(source) - start
            return super()._frame_end(source, start)

    for line_end in (b"\n", b"\r\n"):
        parser = Counting()
        for _ in range(2000):
            parser.feed(b"data: " + b"x" * 100 + line_end)  # one endless frame
        assert parser.searched_bytes < 2 * 2000 * 108


@given(json_objects, names)
def test_what_an_event_writes_is_read(data: dict[str, Any], name: str) -> None:
    raw = Event(name, data).encode()
    assert [(item.event, orjson.loads(item.data or b"")) for item in parse([raw])] == [(name, data)]
