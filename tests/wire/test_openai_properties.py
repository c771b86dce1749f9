"""Laws of the OpenAI decoder, on streams nobody thought of: cuts do not matter, every end is legal, work is linear."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_calls import JsonEnd, repaired
from anyclaude_lab.wire.openai_dialect import GENERIC
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder
from anyclaude_lab.wire.openai_text import ReasoningSplitter, TokenFilter
from tests.wire.openai_streams import CONTEXT, TOOLS, Decoded, chunk, judge, read_back, sse, usage_chunk
from tests.wire.strategies import cut_places, cuts, json_objects

# --- streams of every kind, sane and mad

_words = st.sampled_from(
    ["a", " ", "\n", "<think>", "</think>", "\n</think>", "<|im_end|>", "`", "```", "<", "[", "é😀"]
)
_texts = st.lists(_words, max_size=5).map("".join)
_arguments = st.sampled_from(
    [
        "",
        "{",
        '{"command": "l',
        's"}',
        '{"command": "ls"}',
        "}",
        '"{}"',
        "null",
        None,
        {},
        {"command": "x"},
        "{]",
        " ",
        "\\",
    ]
)
_entries = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([0, 1, None]),
        "id": st.sampled_from(["a", "b", "", None]),
        "function": st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from([*TOOLS, "Ba", "sh", "Shell", "", None]), "arguments": _arguments}
        ),
    },
)
_deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": _texts | st.none(),
        "reasoning": _texts | st.none(),
        "reasoning_content": _texts,
        "tool_calls": st.lists(_entries, max_size=2) | st.none(),
        "refusal": st.none(),
    },
)
_finishes = st.sampled_from([None, None, None, "stop", "tool_calls", "length", "content_filter", "odd", "error"])
_chunks: st.SearchStrategy[JsonObject | bytes] = st.one_of(
    st.builds(lambda delta, finish: chunk(finish, **delta), _deltas, _finishes),
    st.just(usage_chunk()),
    st.sampled_from(
        [
            {"error": {"code": 502, "message": "x"}},
            {"error": {"code": 400, "message": "prompt is too long: 9 tokens > 8 maximum"}},
            {"choices": [None]},
            {"choices": [{"index": 0}]},
            b": keepalive 1/2\n\n",
            b"data: {half\n\n",
            b"data: [DONE]\n\n",
        ]
    ),
)
streams = st.lists(_chunks, max_size=12)


def decoded(pieces: list[bytes], **changes: Any) -> Decoded:
    decoder = OpenAIStreamDecoder(CONTEXT, GENERIC)
    events = [event for data in pieces for event in decoder.feed(data)] + decoder.close()
    return Decoded(read_back(events), decoder)


@settings(max_examples=200)
@given(streams, st.booleans(), cut_places)
def test_how_the_bytes_were_cut_does_not_matter(chunks: list[Any], done: bool, places: list[int]) -> None:
    raw = sse(chunks, done=done)
    whole, pieces = decoded([raw]), decoded(cuts(raw, places))
    assert pieces.events == whole.events
    assert (pieces.ending, pieces.decoder.usage) == (whole.ending, whole.decoder.usage)


@settings(max_examples=200)
@given(streams, st.booleans(), st.integers(0, 3000))
def test_any_stream_cut_anywhere_ends_legally(chunks: list[Any], done: bool, at: int) -> None:
    raw = sse(chunks, done=done)
    reply = decoded([raw[: at % (len(raw) + 1)]])
    judge(reply)
    assert (reply.ending is Ending.COMPLETE) is (reply.decoder.failure is None)


@given(st.binary(max_size=300))
def test_any_bytes_end_legally(raw: bytes) -> None:
    judge(decoded([raw]))


@given(st.lists(json_objects, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_calls_arrive_as_they_were_meant_however_they_are_interleaved(arguments: list[JsonObject], random: Any) -> None:
    texts = [orjson.dumps(a).decode() for a in arguments]
    left = [[t[i : i + 3] for i in range(0, len(t), 3)] for t in texts]
    chunks = [
        chunk(tool_calls=[{"index": i, "id": f"c{i}", "function": {"name": "ListAgents", "arguments": ""}}])
        for i in range(len(texts))
    ]
    while any(left):
        i = random.choice([n for n, pieces in enumerate(left) if pieces])
        chunks.append(chunk(tool_calls=[{"index": i, "function": {"arguments": left[i].pop(0)}}]))
    reply = decoded([sse([*chunks, chunk("tool_calls")])])
    judge(reply)
    assert [call for _, call in reply.calls] == arguments


@given(st.lists(_texts, max_size=6))
def test_no_text_is_lost_but_tags_and_tokens(texts: list[str]) -> None:
    reply = decoded([sse([*(chunk(content=t) for t in texts), chunk("stop")])])
    seen = reply.thinking + reply.text
    expected = "".join(texts)
    for mark in ("<think>", "</think>", "<|im_end|>"):
        seen, expected = seen.replace(mark, ""), expected.replace(mark, "")
    assert sorted("".join(seen.split())) == sorted("".join(expected.split()))


# --- the parts


@given(json_objects, st.text(max_size=5), cut_places)
def test_the_end_of_a_json_object_is_found_in_any_cut(value: JsonObject, behind: str, places: list[int]) -> None:
    text = orjson.dumps(value).decode()
    end, seen = JsonEnd(), 0
    marks = sorted({place % (len(text + behind) + 1) for place in places} | {0, len(text + behind)})
    for start, stop in itertools.pairwise(marks):
        found = end.feed((text + behind)[start:stop])
        if found is not None:
            seen = start + found
            break
    assert seen == len(text)


@given(json_objects)
def test_sound_arguments_are_never_touched(value: JsonObject) -> None:
    text = orjson.dumps(value).decode()
    assert repaired(text, {}) == text
    twice = repaired(orjson.dumps(text).decode(), {})
    assert twice is not None
    assert orjson.loads(twice) == value


@given(_texts, st.integers(1, 5))
def test_text_filters_do_not_depend_on_cuts(text: str, size: int) -> None:
    for make in (TokenFilter, ReasoningSplitter):
        results = []
        for step in (len(text) or 1, size):
            reader: Any = make()
            pieces = [reader.feed(text[at : at + step]) for at in range(0, len(text), step)] + [reader.close()]
            if make is TokenFilter:
                results.append("".join(pieces))
            else:
                flat = [piece for group in pieces for piece in group]
                results.append("".join(("R" if thought else "T") + c for thought, t in flat for c in t))
        assert results[0] == results[1]


# --- linear work: counted in interpreter steps, not in seconds

MAD = {
    "angle brackets": [chunk(content="<")],
    "brackets": [chunk(content="[")],
    "backticks": [chunk(content="`")],
    "closing tags": [chunk(content="\n</thin")],
    "open braces": [chunk(tool_calls=[{"index": 0, "function": {"name": "Bash", "arguments": "{"}}])],
    "escapes": [chunk(tool_calls=[{"index": 0, "function": {"name": "Bash", "arguments": '{"a": "\\\\'}}])],
    "whole calls again": [chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "Bash", "arguments": "{}"}}])],
    "interleaved": [
        chunk(tool_calls=[{"index": i, "function": {"name": "Bash", "arguments": '{"a'}}]) for i in (0, 1)
    ],
    "text behind an open call": [
        chunk(tool_calls=[{"index": 0, "function": {"name": "Bash", "arguments": '{"a'}}]), chunk(content="x")
    ],
}  # fmt: skip


def steps(raw: bytes) -> int:
    """Python function calls and lines that decoding takes."""
    count = 0

    def tracer(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return tracer

    decoder = OpenAIStreamDecoder(CONTEXT, GENERIC)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        decoder.feed(raw)
        decoder.close()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("chunks", MAD.values(), ids=MAD)
def test_work_is_linear_in_the_length_of_the_stream(chunks: list[Any]) -> None:
    short, long = steps(sse(chunks * 50)), steps(sse(chunks * 400))
    assert long < 8 * short * 1.25
