"""Rules 23 and 35: a Messages stream is read without losing a byte."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab import errors
from anyclaude_lab.wire import events as e
from anyclaude_lab.wire import sse
from anyclaude_lab.wire.anthropic import NO_EVENT, AnthropicDecoder, error_from
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, Usage
from anyclaude_lab.wire.fold import fold, unfold
from anyclaude_lab.wire.grammar import StreamGrammar
from tests.wire.strategies import cut_places, cuts, messages


def encoded(message: dict[str, Any]) -> bytes:
    return b"".join(event.encode() for event in unfold(message))


def decoded(chunks: list[bytes]) -> tuple[list[Event], AnthropicDecoder]:
    decoder = AnthropicDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close(), decoder


@given(messages(), cut_places)
def test_events_do_not_depend_on_how_the_bytes_were_cut(message: dict[str, Any], places: list[int]) -> None:
    data = encoded(message)
    events, decoder = decoded(cuts(data, places))
    assert [(event, event.raw) for event in events] == [(event, event.raw) for event in decoded([data])[0]]
    assert decoder.ending is Ending.COMPLETE
    assert decoder.failure is None
    assert fold(events) == message


@given(st.binary(max_size=300), cut_places)
def test_relaying_is_lossless_on_any_bytes(data: bytes, places: list[int]) -> None:
    assert b"".join(event.encode() for event in decoded(cuts(data, places))[0]) == data


@given(messages(), st.integers(0, 10_000))
def test_a_stream_cut_anywhere_is_lossless_and_ends_legally(message: dict[str, Any], place: int) -> None:
    data = encoded(message)
    data = data[: place % len(data)]
    events, decoder = decoded([data])
    grammar = StreamGrammar(strict=False)
    assert [grammar.check(event) for event in events] == [None] * len(events)
    assert decoder.ending is Ending.CUT
    assert isinstance(decoder.failure, errors.StreamCut)
    assert grammar.finish(decoder.ending) is None
    assert b"".join(event.encode() for event in events) == data


@given(
    st.lists(st.text(max_size=8) | st.sampled_from(['"', "\\", '"}}\n\n', "\n"]), min_size=1, max_size=12), cut_places
)
def test_skimming_leaves_out_pieces_of_text_alone(texts: list[str], places: list[int]) -> None:
    start, *end = unfold({"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 5}})
    block = [
        e.block_start(0, {"type": "text", "text": ""}),
        *(e.text_delta(0, text) for text in texts),
        e.block_stop(0),
    ]
    stream = b"".join(event.encode() for event in (start, *block, *end))
    whole, skimmed = AnthropicDecoder(), AnthropicDecoder()
    expected = [*whole.feed(stream), *whole.close()]
    found = [event for piece in cuts(stream, places) for event in skimmed.feed(piece, skim=True)] + skimmed.close()
    others = [event for event in expected if event.type != "content_block_delta"]
    assert [event for event in found if event.type != "content_block_delta"] == others
    assert block[1] in found  # the first piece: what it says of the block is judged
    assert (skimmed.ending, skimmed.usage) == (whole.ending, whole.usage)


def test_a_last_event_without_its_blank_line_does_not_count() -> None:
    events, decoder = decoded([b'event: message_stop\ndata: {"type":"message_stop"}\n'])
    assert [event.type for event in events] == [NO_EVENT]
    assert decoder.ending is Ending.CUT  # clients drop such an event, too


def test_comments_and_later_events_are_carried() -> None:
    data = (
        b': hi\n\nevent: applause\ndata: {"type": "applause", "loud": true}\n\nevent: x\ndata: {broken\n\ndata: [1]\n\n'
    )
    events, _ = decoded([data])
    assert [(event.type, event.data) for event in events] == [
        (NO_EVENT, {}),
        ("applause", {"type": "applause", "loud": True}),
        (NO_EVENT, {}),
        (NO_EVENT, {}),
    ]


def test_an_event_without_its_name_is_called_by_its_type() -> None:
    assert [event.type for event in decoded([b'data: {"type": "ping"}\n\n'])[0]] == ["ping"]


START_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 3000,
    "output_tokens": 1,
}


@pytest.mark.parametrize(
    ("final", "usage"),
    [
        ({"output_tokens": 40}, Usage(3210, 3000, 40)),
        ({"input_tokens": 11, "output_tokens": 40}, Usage(3211, 3000, 40)),
        ({"cache_read_input_tokens": None, "output_tokens": 40}, Usage(3210, 3000, 40)),
        ({"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}, Usage(0, 0, 1)),
        (None, Usage(3210, 3000, 1)),
    ],
)
def test_usage_is_what_the_model_conditioned_on(final: dict[str, Any] | None, usage: Usage) -> None:
    delta = Event("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": final})
    _, decoder = decoded([event.encode() for event in (e.message_start("msg_1", "m", START_USAGE), delta)])
    assert decoder.usage == usage


def test_usage_nobody_told_is_unknown() -> None:
    start = Event("message_start", {"type": "message_start", "message": {"content": []}})
    assert decoded([start.encode()])[1].usage == Usage(None, None, None)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", errors.BackendUnavailable),
        ("api_error", errors.BackendFailed),
        ("rate_limit_error", errors.RateLimited),
        ("invalid_request_error", errors.InvalidRequest),
        ("a_later_error", errors.BackendFailed),
    ],
)
def test_an_error_event_is_the_failure(kind: str, error: type[errors.AnyclaudeError]) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "No."}}
    events, decoder = decoded([e.error(body).encode()])
    assert [event.data for event in events] == [body]
    assert decoder.ending is Ending.ERROR
    assert type(decoder.failure) is error
    assert decoder.failure.message == "No."


def test_an_error_without_words_has_some() -> None:
    assert error_from({"error": "x"}).message


def test_past_the_frame_cap_the_bytes_still_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse.SseParser.__init__, "__defaults__", (100,))
    chunks = [b"data: " + b"x" * 200, b"y" * 200, b"z"]
    events, decoder = decoded(chunks)
    assert b"".join(event.encode() for event in events) == b"".join(chunks)
    assert decoder.ending is Ending.CUT
    assert isinstance(decoder.failure, errors.BackendFailed)
