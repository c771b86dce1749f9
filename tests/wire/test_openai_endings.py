"""Rules 21, 27, 28, 31: how a reply ends when the backend breaks off, fails in mid-stream, or never streams at all."""

import json
from typing import Any

import orjson
import pytest

from anyclaude_lab.errors import BackendFailed, BackendUnavailable, Forbidden, PromptTooLong, RateLimited, StreamCut
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.openai_dialect import DIALECTS, LM_STUDIO, MLX_LM, OPENROUTER, VLLM, Dialect
from anyclaude_lab.wire.openai_reply import HELD_CHARS
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder
from tests.wire.openai_streams import CONTEXT, chunk, decode, piece, sse, usage_chunk

LS = '{"command": "ls -la"}'
TEXT = chunk(content="I will")
WHOLE = piece(LS, name="Bash", id="a", index=0)
HALF = piece('{"command": "rm -rf /tmp/', name="Bash", id="b", index=1)
LONG_HALF = piece('{"command": "rm -rf /tmp/' + "x" * HELD_CHARS, name="Bash", id="b", index=1)
OVERFLOW = {"message": "prompt is too long: 40000 tokens > 32768 maximum", "code": 400}


# --- the connection ends early


@pytest.mark.parametrize("chunks", [[], [TEXT], [chunk(reasoning="hm")], [piece("", name="Bash", id="a")]])
def test_nothing_runnable_yet_is_a_cut_without_a_terminal_event(chunks: list[Any]) -> None:
    reply = decode(chunks, done=False)
    assert reply.ending is Ending.CUT
    assert isinstance(reply.decoder.failure, StreamCut)
    assert not {e.type for e in reply.events} & {"message_delta", "message_stop", "error"}


def test_an_open_call_is_never_closed_by_a_cut() -> None:
    reply = decode([TEXT, LONG_HALF], done=False)
    assert reply.ending is Ending.CUT
    assert reply.events[-1].type == "content_block_delta"
    assert reply.decoder.failure is not None
    assert "inside a tool call" in reply.decoder.failure.message


def test_a_cut_inside_a_call_looks_like_a_cut_before_it() -> None:
    """Older clients end the turn in silence where half a call follows a complete text block."""
    reply = decode([TEXT, HALF], done=False)
    assert (reply.ending, reply.calls) == (Ending.CUT, [])
    assert {e.type for e in reply.events} == {"message_start", "content_block_start", "content_block_delta"}
    assert reply.decoder.failure is not None
    assert "inside a tool call" in reply.decoder.failure.message


def test_a_finished_call_that_fits_its_schema_is_delivered() -> None:
    reply = decode([TEXT, WHOLE], done=False)
    assert (reply.ending, reply.ended, reply.decoder.failure) == (Ending.COMPLETE, "tool_use", None)
    assert reply.calls == [("Bash", {"command": "ls -la"})]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"command": {"type": "any"}}},
        {"properties": {"command": {"type": "string", "minLength": "2"}}},
        {"properties": ["command"]},
        {"required": 5},
        {"$schema": []},
        {"$id": 5},
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"command": {"pattern": "^(l+)+$"}}},
        {"patternProperties": {"^(c+)+$": {}}, "additionalProperties": False},
    ],
    ids=str,
)
def test_a_finished_call_is_delivered_whatever_its_schema_is(schema: dict[str, Any]) -> None:
    """Those of MCP servers are of any shape; none may stop the proxy, make it wait or make it ask somebody."""
    offered = {"Bash": schema}
    call = piece(json.dumps({"command": "l" * 40 + "!", "c" * 40 + "!": 1}), name="Bash", id="a", index=0)
    assert decode([call], done=False, offered=offered).ending is Ending.COMPLETE
    assert decode([piece("[1]", name="Bash", id="a", index=0)], done=False, offered=offered).ending is Ending.CUT


def test_text_behind_a_finished_call_does_not_spoil_it() -> None:
    assert decode([WHOLE, TEXT], done=False).ended == "tool_use"


@pytest.mark.parametrize("arguments", ['{"cmd": "ls"}', '{"command": 5}', '{"command": "ls", "x": 1}'])
def test_a_finished_call_that_does_not_fit_is_no_reason_to_finish(arguments: str) -> None:
    assert decode([piece(arguments, name="Bash", id="a")], done=False).ending is Ending.CUT


def test_a_finished_call_of_an_unknown_tool_is_no_reason_to_finish() -> None:
    assert decode([piece(LS, name="Shell", id="a")], done=False).ending is Ending.CUT


def test_a_finished_call_before_half_a_call_is_a_cut_once_the_half_was_seen() -> None:
    assert decode([WHOLE, LONG_HALF], done=False).ending is Ending.CUT


@pytest.mark.parametrize("unseen", [HALF, piece('{"todos": [', name="TodoWrite", id="b", index=1)])
def test_a_finished_call_before_half_a_call_nobody_saw_is_delivered(unseen: Any) -> None:
    reply = decode([WHOLE, unseen], done=False)
    assert (reply.ended, [name for name, _ in reply.calls]) == ("tool_use", ["Bash"])


def test_a_schema_nobody_can_judge_by_lets_an_object_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *request, **_: fetched.append(request))
    offered = {"Odd": {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:1/missing.json"}}}}
    reply = decode([piece('{"x": 1}', name="Odd", id="a")], done=False, offered=offered)
    assert reply.ended == "tool_use"
    assert fetched == []


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_half_a_call_is_not_run_although_the_server_calls_it_the_end(finish: str) -> None:
    for half in (HALF, piece('{"todos": [', name="TodoWrite", id="b", index=1)):
        assert decode([TEXT, half, chunk(finish)]).ending is Ending.CUT
    assert decode([WHOLE, piece('{"todos": [', name="TodoWrite", id="b", index=1), chunk(finish)]).ended == "tool_use"


def test_arguments_that_close_but_are_no_json_are_not_closed() -> None:
    assert decode([piece('{"command": ls}', name="Bash", id="a"), chunk("tool_calls")]).ending is Ending.CUT


def test_after_the_finish_a_missing_end_is_no_fault() -> None:
    assert decode([TEXT, chunk("stop")], done=False).ending is Ending.COMPLETE


def test_done_alone_is_a_failure_not_an_empty_answer() -> None:
    # vllm-project/vllm#40986
    reply = decode([])
    assert (reply.ending, reply.events) == (Ending.CUT, [])
    assert isinstance(reply.decoder.failure, BackendFailed)


@pytest.mark.parametrize("at", range(0, 900, 7))
def test_a_stream_cut_anywhere_ends_legally(at: int) -> None:
    body = sse([chunk(reasoning="hm"), TEXT, WHOLE, piece('{"file_path": "/a"}', name="Read", id="b", index=1),
                chunk("tool_calls"), usage_chunk()])  # fmt: skip
    decode(body[:at])


# --- the backend fails in mid-stream

OPENROUTER_ERROR = {
    # openrouter.ai/docs/api-reference/streaming: error beside choices, finish_reason "error"
    "id": "gen-1", "object": "chat.completion.chunk", "provider": "Chutes",
    "error": {"code": 502, "message": "Provider disconnected unexpectedly"},
    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
}  # fmt: skip
MID_STREAM: dict[str, tuple[Any, Dialect, type[Exception]]] = {
    "OpenRouter": (OPENROUTER_ERROR, OPENROUTER, BackendUnavailable),
    "OpenRouter, code as a word": (
        OPENROUTER_ERROR | {"error": {"code": "server_error", "message": "x"}}, OPENROUTER, BackendFailed),
    "OpenRouter, only a finish_reason": (chunk("error"), OPENROUTER, BackendFailed),
    "OpenRouter, in the choice": (
        chunk("error", choice={"error": {"code": 429, "message": "slow down"}}), OPENROUTER, RateLimited),
    "vLLM": (
        {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}, VLLM, BackendFailed),
    "LM Studio": (
        # lmstudio-ai/lmstudio-bug-tracker: a named event
        b'event: error\ndata: {"error":{"message":"The model has crashed"},"message":"The model has crashed"}\n\n',
        LM_STUDIO, BackendFailed),
    "text alone": ({"error": "an error was encountered while running the model"}, DIALECTS["ollama"], BackendFailed),
    "Venice": ({"error_type": "rate_limit_exceeded", "error_message": "slow down"}, DIALECTS["generic"], RateLimited),
    "a list of one": (
        b'data: [{"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}]\n\n',
        DIALECTS["generic"], BackendUnavailable),
}  # fmt: skip


@pytest.mark.parametrize(("failure", "dialect", "kind"), MID_STREAM.values(), ids=MID_STREAM)
def test_a_failure_in_mid_stream_that_may_pass_is_a_cut(failure: Any, dialect: Dialect, kind: type[Exception]) -> None:
    reply = decode([TEXT, failure], dialect=dialect)
    assert reply.ending is Ending.CUT
    assert isinstance(reply.decoder.failure, kind)
    assert reply.text == "I will"
    assert "error" not in [e.type for e in reply.events]


def test_a_failure_that_would_come_again_is_an_error_event_and_nothing_behind_it() -> None:
    reply = decode([TEXT, {"error": OVERFLOW}, TEXT], dialect=OPENROUTER)
    assert reply.ending is Ending.ERROR
    assert isinstance(reply.decoder.failure, PromptTooLong)
    assert reply.events[-1].data == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: 40000 tokens > 32768 maximum"},
    }


def test_a_failure_behind_a_finished_call_delivers_the_call() -> None:
    for failure in (OPENROUTER_ERROR, {"error": OVERFLOW}):
        assert decode([WHOLE, failure], dialect=OPENROUTER).ended == "tool_use"


def test_a_failure_before_the_first_event_is_known_before_any_byte_is_sent() -> None:
    decoder = OpenAIStreamDecoder(CONTEXT, OPENROUTER)
    events = decoder.feed(sse([{"error": {"code": 402, "message": "Insufficient credits"}}]))
    assert [e.type for e in events] == ["error"]
    assert isinstance(decoder.failure, Forbidden)
    decoder = OpenAIStreamDecoder(CONTEXT, OPENROUTER)
    assert decoder.feed(sse([OPENROUTER_ERROR])) == []
    assert isinstance(decoder.failure, BackendUnavailable)


def test_an_error_behind_the_finish_does_not_take_the_answer_back() -> None:
    assert decode([TEXT, chunk("stop"), OPENROUTER_ERROR], dialect=OPENROUTER).ended == "end_turn"


# --- status 200, and no stream

LM_STUDIO_200 = b'{"error":"Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context length of only 32768 tokens, which is not enough."}'  # noqa: E501  as the server wrote it
BODIES: dict[str, tuple[bytes, type[Exception], Ending]] = {
    # lmstudio-ai/lmstudio-bug-tracker#2322: an overflow has status 200
    "LM Studio": (LM_STUDIO_200, PromptTooLong, Ending.ERROR),
    "OpenRouter": (b'{"error":{"message":"Provider returned error","code":429}}', RateLimited, Ending.CUT),
    "a web page": (b"<!DOCTYPE html><html>gateway</html>", BackendFailed, Ending.CUT),
    "no choices": (b'{"object":"chat.completion","choices":[]}', BackendFailed, Ending.CUT),
    "half a body": (b'{"object":"chat.completion","choi', BackendFailed, Ending.CUT),
    "nothing": (b"", StreamCut, Ending.CUT),
    "blanks": (b"  \r\n", StreamCut, Ending.CUT),
}


@pytest.mark.parametrize(("body", "kind", "ending"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_stream_and_no_completion(body: bytes, kind: type[Exception], ending: Ending) -> None:
    reply = decode(body, dialect=LM_STUDIO)
    assert reply.ending is ending
    assert isinstance(reply.decoder.failure, kind)


def test_one_absurd_frame_is_a_cut_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    from anyclaude_lab.wire.sse import SseParser

    decoder = OpenAIStreamDecoder(CONTEXT, MLX_LM)
    monkeypatch.setattr(decoder, "_sse", SseParser(max_frame_bytes=100))
    for _ in range(3):
        decoder.feed(b"data: " + orjson.dumps("x" * 80))
    assert (decoder.ending, type(decoder.failure)) == (Ending.CUT, BackendFailed)
