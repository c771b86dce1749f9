"""Bodies in HTTP/1.1, however their bytes were cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.backends.framing import Body, Chunked, Sized, Unframed

pieces_of_body = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
endings = st.sampled_from([b"0\r\n\r\n", b"000;last\r\n\r\n", b"0\r\nx-trailer: 1\r\nother: 2\r\n\r\n"])
extensions = st.sampled_from([b"", b";name=value", b"  "])


def read(body: Body, data: bytes, cuts: list[int]) -> bytes:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces: list[bytes] = []
    for a, b in pairwise(places):
        body.feed(data[a:b], pieces)
    assert b"" not in pieces  # would be taken for the end
    return b"".join(pieces)


@given(pieces_of_body, extensions, endings, st.lists(st.integers(0, 10_000), max_size=12))
def test_chunks_are_taken_apart_however_they_are_cut(
    pieces: list[bytes], extension: bytes, ending: bytes, cuts: list[int]
) -> None:
    sent = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces) + ending
    body = Chunked()
    assert read(body, sent, cuts) == b"".join(pieces)
    assert body.ended


@given(
    st.lists(st.integers(1, 400), min_size=8, max_size=20),
    st.lists(st.sampled_from([b"\r\n", b"5\r\n", b"\n", b"x"]), min_size=20, max_size=20),
    st.sampled_from([0, 1, 2, 3, 5, 7, 300]),
    st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a"]),
)
def test_many_chunks_in_one_read_are_those_of_many_reads(
    sizes: list[int], fills: list[bytes], missing: int, line: bytes
) -> None:
    pieces = [(fill * size)[:size] for size, fill in zip(sizes, fills, strict=False)]
    pieces.append(b"y" * 3000)
    sent = b"".join(line % len(piece) + b"\r\n%b\r\n" % piece for piece in pieces) + b"0\r\n\r\n"
    sent = sent[: len(sent) - missing]
    once, slowly = Chunked(), Chunked()
    assert read(once, sent, []) == read(slowly, sent, list(range(0, len(sent), 50)))
    assert once.ended is slowly.ended is (not missing)


@given(pieces_of_body, st.binary(max_size=9))
def test_what_follows_the_end_is_no_body(pieces: list[bytes], more: bytes) -> None:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    body = Chunked()
    assert read(body, sent, []) == b"".join(pieces)
    assert read(body, b"1\r\nx\r\n" + more, []) == b""


def test_a_fault_behind_many_chunks_is_found() -> None:
    pieces: list[bytes] = []
    with pytest.raises(Unframed):
        Chunked().feed(b"3\r\nabc\r\n" * 500 + b"3\r\nabcd\r\n" + b"3\r\nabc\r\n" * 5, pieces)
    assert b"".join(pieces) == b"abc" * 501


@given(pieces_of_body, st.integers(1, 10_000))
def test_a_body_that_lacks_its_end_has_not_ended(pieces: list[bytes], cut: int) -> None:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    body = Chunked()
    read(body, sent[: -1 - cut % len(sent)], [])
    assert not body.ended


@pytest.mark.parametrize(
    "sent",
    [
        b"-1\r\nx",
        b"+3\r\nabc\r\n",
        b"1_0\r\n",
        b" 3\r\nabc\r\n",
        b"\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"x" * 70_000,
        b"0\r\n" + b"x-endless: 1\r\n" * 6_000,
    ],
)
def test_what_is_no_chunk_is_refused(sent: bytes) -> None:
    with pytest.raises(Unframed):
        Chunked().feed(sent, [])


@given(st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=5))
def test_a_sized_body_ends_with_its_last_byte(data: bytes, cuts: list[int]) -> None:
    body = Sized(len(data))
    assert body.ended is not bool(data)
    assert read(body, data + b"HTTP/1.1 200 noise", cuts) == data
    assert body.ended
