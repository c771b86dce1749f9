"""Rules 19-21, 24, 26, 27: what a stream of ours may look like, and how it may end."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.wire import events as e
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.fold import unfold
from anyclaude_lab.wire.grammar import StreamGrammar
from tests.wire.strategies import messages

USAGE = {"input_tokens": 1, "output_tokens": 1}
START = e.message_start("msg_1", "m", USAGE)
TEXT, STOP = e.block_start(0, {"type": "text", "text": ""}), e.block_stop(0)
THINKING = e.block_start(0, {"type": "thinking", "thinking": "", "signature": ""})
SIGNATURE = e.block_delta(0, {"type": "signature_delta", "signature": "s"})


def call(index: int = 0, **changes: Any) -> Event:
    return e.block_start(index, {"type": "tool_use", "id": f"toolu_{index}", "name": "Bash", "input": {}} | changes)


def end(reason: str | None = "end_turn", usage: Any = USAGE) -> Event:
    return Event("message_delta", {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})


def faults(stream: list[Event], *, strict: bool = True) -> list[str]:
    grammar = StreamGrammar(strict=strict)
    return [fault for event in stream if (fault := grammar.check(event))]


FAULTS: dict[str, tuple[list[Event], str]] = {
    "nothing before the start": ([TEXT], "content_block_start before message_start"),
    "no ping before the start": ([e.ping()], "ping before message_start"),
    "one start": ([START, START], "message_start while no block is open"),
    "the start is empty": ([e.message_start("", "m", USAGE)], "message_start has no id"),
    "blocks from zero": ([START, call(1)], "index 1; the next one is 0"),
    "blocks without gaps": ([START, TEXT, STOP, call(2)], "index 2; the next one is 1"),
    "one open block": ([START, TEXT, call(1)], "content_block_start while a block is open"),
    "deltas need a block": ([START, e.text_delta(0, "x")], "content_block_delta while no block is open"),
    "deltas of the open block": ([START, TEXT, e.text_delta(1, "x")], "for block 1 while block 0 is open"),
    "deltas fit the block": ([START, TEXT, e.json_delta(0, "{}")], "input_json_delta in a text block"),
    "text is not thinking": ([START, THINKING, e.text_delta(0, "x")], "text_delta in a thinking block"),
    "stop of the open block": ([START, TEXT, e.block_stop(1)], "content_block_stop for block 1 while block 0 is open"),
    "no stop without a block": ([START, STOP], "content_block_stop while no block is open"),
    "input starts empty": ([START, call(input={"command": "ls"})], "does not start with input {}"),
    "calls have names": ([START, call(name="")], "has no name or no id"),
    "ids are not repeated": ([START, call(), STOP, call(1, id="toolu_0")], "repeats the id toolu_0"),
    "text starts empty": ([START, e.block_start(0, {"type": "text", "text": "x"})], "does not start empty"),
    "known blocks": ([START, e.block_start(0, {"type": "poem"})], "unknown block type 'poem'"),
    "known deltas": ([START, TEXT, e.block_delta(0, {"type": "rhyme_delta"})], "rhyme_delta in a text block"),
    "known events": ([START, Event("applause", {})], "unknown event 'applause'"),
    "thinking is signed": ([START, THINKING, e.thinking_delta(0, "x"), STOP], "without a signature"),
    "the signature is last": ([START, THINKING, SIGNATURE, e.thinking_delta(0, "x")], "after the signature"),
    "blocks are closed": ([START, TEXT, end()], "message_delta while a block is open"),
    "one message_delta": ([START, end(), end()], "message_delta after message_delta"),
    "no block after message_delta": ([START, end(), TEXT], "content_block_start after message_delta"),
    "a legal reason": ([START, end("stop")], "stop_reason 'stop'; one of"),
    "a reason at all": ([START, end(None)], "stop_reason None; one of"),
    "output tokens": ([START, end(usage={})], "no usage.output_tokens"),
    "a call is run": ([START, call(), STOP, end("end_turn")], "end_turn after a tool call"),
    "no call, no tool_use": ([START, end("tool_use")], "tool_use without a tool call"),
    "whole arguments": (
        [START, call(), e.json_delta(0, '{"a'), STOP, end("tool_use")],
        "arguments of Bash are no JSON",
    ),
    "object arguments": (
        [START, call(), e.json_delta(0, "[]"), STOP, end("tool_use")],
        "arguments of Bash are no JSON",
    ),
    "the reason comes before the end": ([START, e.message_stop()], "message_stop while no block is open"),
    "nothing after the end": ([START, end(), e.message_stop(), e.ping()], "ping after message_stop"),
    "nothing after an error": (
        [START, e.error({"error": {"type": "a", "message": "b"}}), e.ping()],
        "ping after error",
    ),
    "an error says what": ([START, e.error({"error": "x"})], "without error.type and error.message"),
}


@pytest.mark.parametrize(("stream", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_every_fault_is_named(stream: list[Event], fault: str) -> None:
    found = faults(stream)
    assert len(found) == 1  # and nothing before it
    assert fault in found[0]


@given(messages())
def test_what_unfold_makes_is_legal(message: dict[str, Any]) -> None:
    assert faults(unfold(message)) == []


@given(messages(), st.data())
def test_a_ping_is_legal_anywhere_after_the_start(message: dict[str, Any], data: st.DataObject) -> None:
    stream = unfold(message)
    place = data.draw(st.integers(1, len(stream) - 1))
    assert faults([*stream[:place], e.ping(), *stream[place:]]) == []


def test_a_length_limit_may_cut_the_arguments() -> None:
    assert faults([START, call(), e.json_delta(0, '{"a'), STOP, end("max_tokens"), e.message_stop()]) == []


def test_a_call_without_arguments_needs_no_delta() -> None:
    assert faults([START, call(), STOP, end("tool_use"), e.message_stop()]) == []


UNKNOWN: dict[str, Callable[[], list[Event]]] = {
    "event": lambda: [START, Event("applause", {}), end(), e.message_stop()],
    "bytes that are no event": lambda: [Event("", {}, b": hi\n\n"), START, end(), e.message_stop()],
    "block": lambda: [
        START,
        e.block_start(0, {"type": "poem"}),
        e.block_delta(0, {"type": "rhyme_delta"}),
        STOP,
        end(),
    ],
    "delta in a known block": lambda: [START, TEXT, e.block_delta(0, {"type": "rhyme_delta"}), STOP, end()],
    "stop reason": lambda: [START, end("applause"), e.message_stop()],
    "several message_deltas": lambda: [START, end(), end(), e.message_stop()],
    "unsigned thinking": lambda: [START, THINKING, STOP, end(), e.message_stop()],
}


@pytest.mark.parametrize("stream", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_a_witness_lets_a_later_api_pass(stream: Callable[[], list[Event]]) -> None:
    assert faults(stream(), strict=False) == []


@pytest.mark.parametrize(
    "name",
    ["one open block", "blocks without gaps", "deltas fit the block", "nothing after the end", "blocks are closed"],
)
def test_a_witness_still_sees_disorder(name: str) -> None:
    stream, fault = FAULTS[name]
    assert [fault in found for found in faults(stream, strict=False)] == [True]


def test_there_are_three_legal_ends() -> None:
    error = e.error({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
    streams = {
        Ending.COMPLETE: [START, end(), e.message_stop()],
        Ending.CUT: [START, TEXT, e.text_delta(0, "half a sen")],
        Ending.ERROR: [START, TEXT, error],
    }
    for made, stream in streams.items():
        for said in Ending:
            grammar = StreamGrammar()
            assert [grammar.check(event) for event in stream] == [None] * len(stream)
            assert (grammar.finish(said) is None) == (said is made)


def test_an_end_is_called_by_its_name() -> None:
    grammar = StreamGrammar()
    grammar.check(START)
    assert grammar.finish(Ending.COMPLETE) == "said to be complete while no block is open, without message_stop"
