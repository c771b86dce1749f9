"""Frames known by their bytes: whatever they say, they are read as the parsers would read them."""

from __future__ import annotations

import json
from itertools import accumulate, pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.models.families import family_of
from anyclaude_lab.wire.anthropic import AnthropicDecoder
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder, reply_context
from anyclaude_lab.wire.repeated import MOST_IN_VAIN, RepeatedFrame
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames
from tests.wire.openai_streams import read_back

texts = st.text(min_size=1, max_size=12)
wild = st.sampled_from(
    ['"', "\\", '"}}', '"},"finish_reason":null}]}\n\n', "\n\n", "é", "\u2028", "😀", "data: ", "", "\n", "</think>"]
)
pieces_of_text = st.lists(texts | wild, min_size=2, max_size=12)


def frame(value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def chunk(delta: object, **more: object) -> bytes:
    return frame({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more})


def made(stream: bytes, cuts: list[int]) -> list[Event]:
    """The events that a stream becomes."""
    request = Request({"model": "m", "messages": []})
    decoder = OpenAIStreamDecoder(reply_context(request, message_id="m", names=ToolNames.for_tools({})), MLX_LM)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [e for a, b in pairwise(places) for e in decoder.feed(stream[a:b])]


def told(stream: bytes, cuts: list[int]) -> list[str]:
    """The texts of these events, one by one."""
    events = made(stream, cuts)
    apart = read_back(events)
    assert text_of(events) == text_of(apart)
    return [event.data["delta"]["text"] for event in apart if event.type == "content_block_delta"]


def text_of(events: list[Event]) -> str:
    return "".join(event.data["delta"]["text"] for event in events if event.type == "content_block_delta")


@given(pieces_of_text, st.booleans(), st.lists(st.integers(0, 10_000), max_size=8))
def test_a_stream_of_like_frames_is_told_as_one_of_unlike_frames(
    pieces: list[str], role: bool, cuts: list[int]
) -> None:
    more = {"role": "assistant", "tool_calls": []} if role else {}
    same = b"".join(chunk({**more, "content": piece}, created=0) for piece in pieces)
    each = b"".join(chunk({**more, "content": piece}, created=number) for number, piece in enumerate(pieces))
    assert told(same, cuts) == told(each, [])  # no two of its frames are alike


@given(pieces_of_text, st.booleans(), st.lists(st.integers(0, 10_000), max_size=8))
def test_bytes_do_not_tell_how_they_were_cut(pieces: list[str], slashes: bool, cuts: list[int]) -> None:
    """Whatever a server escapes that need not be: Python's all but ASCII, PHP's slashes."""
    frames = [
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": f"/{piece}"}}]}).encode() + b"\n\n"
        for piece in pieces
    ]
    stream = b"".join(frames).replace(b"/", rb"\/") if slashes else b"".join(frames)
    whole, parts = made(stream, []), made(stream, cuts)
    assert b"".join(event.encode() for event in parts) == b"".join(event.encode() for event in whole)


tags = st.sampled_from(
    ["<tool_call>", '{"name": "Bash", "arguments": {}}', "</tool_call>", "```", "`", "<", "[TOOL_CALLS]"]
)


@given(
    st.lists(texts | wild | tags, min_size=2, max_size=16),
    st.lists(st.integers(0, 10_000), max_size=8),
    st.booleans(),
    st.integers(1, 4),
)
def test_what_is_skimmed_where_it_can_be_is_what_is_read(
    pieces: list[str], cuts: list[int], at_frames: bool, gulp: int
) -> None:
    """Byte for byte, and the events that are told later are those of the bytes."""
    request = Request({"model": "m", "messages": [], "tools": [{"name": "Bash", "input_schema": {"type": "object"}}]})
    names, parser = ToolNames.for_tools(request.offered_tools()), family_of("qwen3").parser
    context = reply_context(request, message_id="m", names=names, parser=parser)
    frames = [chunk({"content": piece}) for piece in ["It is", *pieces]]
    stream = b"".join(frames)
    ends = list(accumulate(map(len, frames)))
    places = [ends[cut % len(ends)] if at_frames else cut % (len(stream) + 1) for cut in cuts]
    read, skimmed = (OpenAIStreamDecoder(context, MLX_LM) for _ in range(2))
    sent, unsettled, since = b"", b"", 0

    def settled() -> bytes:
        told = b"".join(event.encode() for event in skimmed.skimmed())
        assert told == unsettled
        return told

    for a, b in pairwise(sorted({0, ends[0], len(stream), *places})):
        if since == gulp:
            sent, unsettled, since = sent + settled(), b"", 0
        more = skimmed.skim(stream[a:b])
        if more is None:
            sent, unsettled, since = sent + settled(), b"", 0
            sent += b"".join(event.encode() for event in skimmed.feed(stream[a:b]))
        else:
            unsettled, since = unsettled + more, since + 1
    sent += settled() + b"".join(event.encode() for event in skimmed.close())
    assert sent == b"".join(event.encode() for event in [*read.feed(stream), *read.close()])


def test_a_piece_without_text_changes_nothing() -> None:
    frames = [chunk({"content": piece}) for piece in ("thoughts\n", "", "</think>", "answer")]
    cuts = [len(b"".join(frames[:number])) for number in range(len(frames))]
    assert told(b"".join(frames) + chunk({"content": "!"}, created=1), cuts) == ["thoughts\n", "answer", "!"]


def test_a_call_in_the_text_is_not_taken_as_text() -> None:
    request = Request({"model": "m", "messages": [], "tools": [{"name": "Bash", "input_schema": {"type": "object"}}]})
    names = ToolNames.for_tools(request.offered_tools())
    parser = family_of("qwen3").parser
    decoder = OpenAIStreamDecoder(reply_context(request, message_id="m", names=names, parser=parser), MLX_LM)
    assert decoder.feed(chunk({"content": "Now I"})) and decoder.skim(chunk({"content": " call."}))
    assert text_of(decoder.skimmed()) == " call."
    events = []
    for piece in ("\n<tool_call>", '{"name": "Bash", "arguments"', ": {}}", "</tool_call>"):
        assert decoder.skim(chunk({"content": piece})) is None
        events += decoder.feed(chunk({"content": piece}))
    assert "tool_use" in [e.data["content_block"]["type"] for e in events if e.type == "content_block_start"]


def test_what_stands_between_repeated_frames_is_not_passed_over() -> None:
    stream = chunk({"content": "a"}) * 3 + chunk({"content": "b", "reasoning": ""}) + chunk({"content": "a"})
    assert told(stream, []) == ["a", "a", "a", "b", "a"]
    other = b'data: {"id":"c","choices":[{"index":1,"delta":{"content":"no"},"finish_reason":null}]}\n\n'
    assert told(chunk({"content": "a"}) * 2 + other + chunk({"content": "z"}), []) == ["a", "a", "z"]


def test_an_error_in_the_shape_of_text_ends_the_stream() -> None:
    failed = chunk({"content": "a"}, error={"message": "out of memory", "code": 500})
    assert told(chunk({"content": "a"}) * 2 + failed + chunk({"content": "z"}), []) == ["a", "a"]


@given(pieces_of_text, st.lists(st.integers(0, 10_000), max_size=8))
def test_a_witness_sees_every_event_and_every_byte(pieces: list[str], cuts: list[int]) -> None:
    data = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces
    ]
    stream = b"".join(b"event: content_block_delta\n" + frame(one) for one in data)
    decoder = AnthropicDecoder()
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    events = [e for a, b in pairwise(places) for e in decoder.feed(stream[a:b])]
    assert [event.data for event in events] == data
    assert b"".join(event.raw or b"" for event in events) == stream


def test_a_text_that_needs_mending_is_left_to_the_parser() -> None:
    known = RepeatedFrame("content")
    assert known.learn(chunk({"content": "a"}), "a")
    for broken in (b"\xff", b"\\ud800", b"\\x", b"a\nb"):
        assert known.read(chunk({"content": "?"}).replace(b"?", broken), 0) is None
    fine = chunk({"content": "fine"})
    run = known.read(fine, 0)
    assert run is not None and (run.texts, run.end) == (["fine"], len(fine))


def test_what_cannot_be_read_holds_up_nothing_before_it() -> None:
    known = RepeatedFrame("content")
    known.learn(chunk({"content": "a"}), "a")
    whole = [chunk({"content": f"{number}"}) for number in range(3)]
    for odd in (
        b"\xff",
        b"\\x",
        b'b","c',
        b'b","choices":"c',
        b"d\\",
        chunk({"content": "e"}, created=1),
        whole[0][:-1],
    ):
        stream = b"".join([*whole, whole[0].replace(b'"0"', b'"%b"' % odd) if len(odd) < 30 else odd, *whole])
        run = known.read(stream, 0)
        assert run is not None and run.texts == ["0", "1", "2"][: len(run.texts)]
        assert stream[: run.end] == b"".join(whole[: len(run.texts)])


def test_a_frame_with_two_places_for_the_text_is_not_learned() -> None:
    known = RepeatedFrame("content")
    assert not known.learn(frame({"content": "a", "more": {"content": "a"}}), "a")
    assert known.read(frame({"content": "a", "more": {"content": "a"}}), 0) is None


def test_a_server_that_changes_more_than_the_text_is_not_learned_for_ever() -> None:
    known = RepeatedFrame("content")
    learned = [known.learn(chunk({"content": "a"}, created=number), "a") for number in range(MOST_IN_VAIN + 3)]
    assert learned == [True] * MOST_IN_VAIN + [False] * 3
