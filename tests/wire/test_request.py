"""What a request must have, and in which words it is refused."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.wire.openai_dialect import DIALECTS
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request, parse_request
from anyclaude_lab.wire.tool_names import ToolNames
from tests.wire.strategies import json_values

HELLO = {"role": "user", "content": "hi"}
CALL = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}],
}


def body(**changes: Any) -> bytes:
    whole = {"model": "m", "max_tokens": 10, "messages": [HELLO]} | changes
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def result(tool_use_id: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool_use_id} | more]}


def refusal(raw: bytes, *, counting: bool = False) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(raw, counting=counting)
    assert caught.value.status == 400
    assert caught.value.body()["error"]["type"] == "invalid_request_error"
    return caught.value.message


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b" ", "The request body is empty"),
    "no JSON": (b"{nope", "The request body is not valid JSON: "),
    "no object": (b"[1]", "The request body must be a JSON object; found a list."),
    "no model": (body(model=...), "model: Field required"),
    "empty model": (body(model=""), "model: Input should be a non-empty string; found an empty string."),
    "no max_tokens": (body(max_tokens=...), "max_tokens: Field required"),
    "text for max_tokens": (body(max_tokens="10"), "max_tokens: Input should be a whole number of tokens; found '10'."),
    "true for max_tokens": (body(max_tokens=True), "max_tokens: Input should be a whole number of tokens; found True."),
    "endless max_tokens": (body(max_tokens=1e20), "max_tokens: Input should be at most 2147483647; found 1e+20."),
    "negative max_tokens": (body(max_tokens=-1), "max_tokens: Input should be a whole number of tokens; found -1."),
    "no messages": (body(messages=...), "messages: Field required"),
    "empty messages": (body(messages=[]), "messages: at least one message is required"),
    "messages no list": (body(messages={}), "messages: Input should be a list; found an object."),
    "message no object": (body(messages=["hi"]), "messages.0: Input should be an object; found a string."),
    "no role": (body(messages=[{"content": "hi"}]), "messages.0.role: Field required"),
    "unknown role": (
        body(messages=[HELLO, {"role": "tool", "content": "x"}]),
        "messages.1.role: Input should be 'user' or 'assistant'; found 'tool'.",
    ),
    "no content": (body(messages=[{"role": "user"}]), "messages.0.content: Field required"),
    "number for content": (
        body(messages=[{"role": "user", "content": 7}]),
        "messages.0.content: Input should be a string or a list of blocks; found a number.",
    ),
    "block no object": (
        body(messages=[{"role": "user", "content": ["x"]}]),
        "messages.0.content.0: Input should be an object with a type; found a string.",
    ),
    "block without type": (
        body(messages=[{"role": "user", "content": [{"text": "x"}]}]),
        "messages.0.content.0.type: Field required",
    ),
    "text without text": (
        body(messages=[{"role": "user", "content": [{"type": "text"}]}]),
        "messages.0.content.0.text.text: Field required",
    ),
    "call without name": (
        body(messages=[{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "input": {}}]}]),
        "messages.0.content.0.tool_use.name: Field required",
    ),
    "call with a list": (
        body(messages=[{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "B", "input": []}]}]),
        "messages.0.content.0.tool_use.input: Input should be an object; found a list.",
    ),
    "result without id": (
        body(messages=[{"role": "user", "content": [{"type": "tool_result"}]}]),
        "messages.0.content.0.tool_result.tool_use_id: Field required",
    ),
    "result with a number": (
        body(messages=[CALL, result("toolu_1", content=7)]),
        "messages.1.content.0.tool_result.content: Input should be a string or a list of blocks; found a number.",
    ),
    "result with a broken block": (
        body(messages=[CALL, result("toolu_1", content=[7])]),
        "messages.1.content.0.tool_result.content.0: Input should be an object with a type; found a number.",
    ),
    "stream": (body(stream="false"), "stream: Input should be a valid boolean; found a string."),
    "system": (body(system=7), "system: Input should be a string or a list of text blocks; found a number."),
    "system block": (body(system=[7]), "system.0: Input should be an object with a type; found a number."),
    "tools": (body(tools={}), "tools: Input should be a list; found an object."),
    "tool": (body(tools=[None]), "tools.0: Input should be an object; found null."),
    "tool without name": (body(tools=[{"input_schema": {}}]), "tools.0.name: Field required"),
    "schema": (
        body(tools=[{"name": "B", "input_schema": "x"}]),
        "tools.0.input_schema: Input should be an object; found a string.",
    ),
}


@pytest.mark.parametrize(("raw", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_missing_or_wrong_is_named_with_its_place(raw: bytes, sentence: str) -> None:
    assert refusal(raw).startswith(sentence)


def test_a_result_without_its_call_is_refused_by_place_and_id() -> None:
    messages = [
        CALL,
        result("toolu_1"),
        {"role": "user", "content": [{"type": "text", "text": "x"}, *result("toolu_9")["content"]]},
    ]
    assert refusal(body(messages=messages)).startswith(
        "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_9."
    )


def test_a_call_that_comes_after_its_result_does_not_count() -> None:
    assert "messages.0.content.0" in refusal(body(messages=[result("toolu_1"), CALL]))


ACCEPTED: dict[str, bytes] = {
    "smallest": body(),
    "system as text": body(system="Be kind."),
    "system as blocks": body(system=[{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]),
    "system in the middle": body(
        messages=[
            HELLO,
            {"role": "system", "content": [{"type": "text", "text": "x"}]},
            CALL,
            {"role": "system", "content": "x"},
        ]
    ),
    "a result behind a system message": body(messages=[CALL, {"role": "system", "content": "x"}, result("toolu_1")]),
    "a result of every spelling": body(
        messages=[
            CALL,
            result("toolu_1"),
            result("toolu_1", content=None),
            result("toolu_1", content=[], is_error=True),
        ]
    ),
    "a tool reference": body(
        messages=[CALL, result("toolu_1", content=[{"type": "tool_reference", "tool_name": "W"}])]
    ),
    "empty texts": body(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": []}]),
    "unknown blocks": body(
        messages=[{"role": "user", "content": [{"type": "tool_addition", "tool": {}}, {"type": "x"}]}]
    ),
    "unknown fields": body(safeguards={"a": 1}, context_management={}, output_config={}, thinking={"type": "adaptive"}),
    "server tools": body(tools=[{"type": "web_search_20250305", "name": "web_search"}, {"type": "a_later_thing"}]),
    "deferred tools": body(tools=[{"name": "Placeholder", "defer_loading": True}]),
    "whole float": body(max_tokens=10.0),
    "nulls": body(system=None, tools=None, stream=None, temperature=None),
}


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_nothing_is_refused_that_can_be_answered(raw: bytes) -> None:
    request = parse_request(raw)
    assert request.body == json.loads(raw)
    assert request.raw == raw


@pytest.mark.parametrize(("levels", "refused"), [(60, False), (110, False), (130, True), (400, True)])
def test_what_is_nested_too_deeply_to_be_passed_on_is_refused(levels: int, refused: bool) -> None:
    schema = b'{"type": "object", "properties": {"x": ' * levels + b"{}" + b"}}" * levels
    raw = b'{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tools": [{"name": "t", '
    raw += b'"input_schema": ' + schema + b"}]}"
    if refused:
        with pytest.raises(InvalidRequest, match="nested too deeply"):
            parse_request(raw)
    else:
        request = parse_request(raw)
        for dialect in DIALECTS.values():
            orjson.dumps(to_openai(request, dialect, model="m", names=ToolNames())[0])


def test_counting_needs_no_max_tokens() -> None:
    assert parse_request(body(max_tokens=...), counting=True).max_tokens == 0
    assert refusal(body(max_tokens="x"), counting=True).startswith("max_tokens")


@given(json_values)
def test_no_body_surprises_the_reader(value: Any) -> None:
    for raw in (
        json.dumps(value).encode(),
        body(messages=[value]),
        body(system=value),
        body(tools=[value]),
        body(model=value),
    ):
        try:
            parse_request(raw)
        except InvalidRequest as refused:
            assert refused.message


def test_damaged_tool_output_does_not_end_the_session() -> None:
    raw = body(messages=[CALL, result("toolu_1", content="TEXT")]).replace(b"TEXT", rb"C:\dir \ud83d")
    request = parse_request(raw)
    assert request.messages[1]["content"][0]["content"] == "C:\\dir \ufffd"
    assert request.raw == raw


def test_the_long_context_suffix_is_no_part_of_the_model() -> None:
    assert Request({"model": "claude-opus-5-5[1m]"}).plain_model == "claude-opus-5-5"
    assert Request({"model": "local/qwen[1M]"}).plain_model == "local/qwen"
    assert Request({"model": "a[1m]b"}).plain_model == "a[1m]b"
    assert Request({"model": "a[1m]"}).model == "a[1m]"
