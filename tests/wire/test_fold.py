"""Rule 31: a stream and the message it spells."""

from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.wire import events as e
from anyclaude_lab.wire.fold import fold, unfold
from tests.wire.strategies import known_blocks, later_blocks, messages

START = e.message_start("msg_1", "m", {"input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 1})


@given(messages(st.one_of(known_blocks, later_blocks)))
def test_folding_an_unfolded_message_gives_it_back(message: dict[str, Any]) -> None:
    assert fold(unfold(message)) == message


@given(messages())
def test_folding_leaves_the_events_as_they_were(message: dict[str, Any]) -> None:
    stream = unfold(message)
    fold(stream)
    assert stream == unfold(message)


def test_the_official_client_reads_the_same_message() -> None:
    content: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm ä 😀", "signature": "sig"},
        {"type": "text", "text": "On it."},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls", "n": [1, 2.5, None]}},
        {"type": "tool_use", "id": "toolu_2", "name": "Glob", "input": {}},
    ]
    usage = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 7}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    end = {"stop_reason": "tool_use", "stop_sequence": None}
    stream = b"".join(event.encode() for event in unfold({**head, **end, "content": content, "usage": usage}))
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )
    client = anthropic.Anthropic(api_key="none", base_url="http://test", http_client=httpx2.Client(transport=transport))
    with client.messages.stream(model="m", max_tokens=10, messages=[{"role": "user", "content": "hi"}]) as reply:
        theirs: dict[str, Any] = dict(reply.get_final_message().to_dict(mode="json", exclude_none=False))
    blocks = zip(content, theirs["content"], strict=True)
    assert {**head, **end}.items() <= theirs.items()
    assert [{name: block[name] for name in ours} for ours, block in blocks] == content
    assert usage.items() <= theirs["usage"].items()


def test_pieces_are_joined() -> None:
    stream = [
        START,
        e.block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        e.thinking_delta(0, "Let me "),
        e.ping(),
        e.thinking_delta(0, "see."),
        e.block_delta(0, {"type": "signature_delta", "signature": "sig"}),
        e.block_stop(0),
        e.block_start(1, {"type": "text", "text": ""}),
        e.text_delta(1, "On "),
        e.text_delta(1, "it."),
        e.block_delta(1, {"type": "citations_delta", "citation": {"cited_text": "c"}}),
        e.block_stop(1),
        e.block_start(2, {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}),
        e.json_delta(2, '{"comm'),
        e.json_delta(2, 'and": "ls"}'),
        e.block_stop(2),
        e.message_delta("tool_use", {"output_tokens": 9}),
        e.message_stop(),
    ]
    message = fold(stream)
    assert message["content"] == [
        {"type": "thinking", "thinking": "Let me see.", "signature": "sig"},
        {"type": "text", "text": "On it.", "citations": [{"cited_text": "c"}]},
        {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}},
    ]
    assert message["stop_reason"] == "tool_use"
    assert message["usage"] == {"input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 9}


@pytest.mark.parametrize("arguments", ['{"command": "rm -rf /tmp/x', "[1]", "nonsense"])
def test_arguments_that_are_no_whole_object_are_none(arguments: str) -> None:
    start = e.block_start(0, {"type": "tool_use", "id": "t", "name": "Bash", "input": {}})
    assert fold([START, start, e.json_delta(0, arguments), e.block_stop(0)])["content"][0]["input"] == {}


def test_a_cut_stream_folds_to_what_was_said() -> None:
    stream = [START, e.block_start(0, {"type": "text", "text": ""}), e.text_delta(0, "half a sen")]
    message = fold(stream)
    assert message["content"] == [{"type": "text", "text": "half a sen"}]
    assert message["stop_reason"] is None


def test_deltas_of_a_later_api_are_carried() -> None:
    start = e.block_start(0, {"type": "compaction", "content": None})
    delta = e.block_delta(0, {"type": "compaction_delta", "content": "short", "encrypted_content": "x"})
    assert fold([START, start, delta, e.block_stop(0)])["content"] == [
        {"type": "compaction", "content": "short", "encrypted_content": "x"}
    ]


def test_no_events_no_message() -> None:
    assert fold([]) == fold([e.ping()]) == {}
