"""The full text of a tool stands behind the call that got its arguments wrong, now and in every later request."""

from __future__ import annotations

import copy
import itertools

import orjson
import pytest

from anyclaude_lab.prompt.deferred import is_definition_text
from anyclaude_lab.prompt.stubs import expand_failed, stub_tools
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import call, result, text

REFUSED = "<tool_use_error>InputValidationError: Read failed: `file_path` is missing</tool_use_error>"


def tool(name: str) -> JsonObject:
    properties = {"file_path": {"type": "string", "description": "Where the file is. It must be absolute. " * 4}}
    schema = {"type": "object", "properties": properties, "required": ["file_path"]}
    return {"name": name, "description": f"{name} is explained here. At great length. " * 9, "input_schema": schema}


TOOLS = [tool("Read"), tool("Write")]
TURNS: list[list[JsonObject]] = [
    [{"role": "user", "content": [text("Read it.")]}],
    [call("c1", "Read", {"path": "a"}), result("c1", [text(REFUSED)], is_error=True)],
    [call("c2", "Read", {"path": "b"}), result("c2", [text(REFUSED)], is_error=True)],
    [call("c3", "Write", {}), result("c3", REFUSED, is_error=True)],
    [{"role": "assistant", "content": [text("Done.")]}, {"role": "user", "content": [text("Thanks.")]}],
]


def history(*turns: list[JsonObject]) -> Request:
    messages = [message for turn in turns for message in turn]
    return Request({"model": "m", "max_tokens": 1, "messages": copy.deepcopy(messages), "tools": copy.deepcopy(TOOLS)})


def expanded(request: Request) -> Request:
    return expand_failed(stub_tools(request), request.tools)


def definitions(request: Request) -> list[JsonObject]:
    """The definitions that stand in the history."""
    parts = [
        part
        for message in request.messages
        for block in message["content"]
        if isinstance(block.get("content"), list)
        for part in block["content"]
    ]
    return [orjson.loads(p["text"].partition("\n")[2]) for p in parts if is_definition_text(p.get("text", ""))]


def test_the_whole_definition_behind_the_first_failure_of_each_tool() -> None:
    sent = expanded(history(*TURNS))
    functions = [definition["function"] for definition in definitions(sent)]
    assert functions == [
        {"name": each["name"], "description": each["description"], "parameters": each["input_schema"]} for each in TOOLS
    ]
    [first, last] = sent.messages[2]["content"][0]["content"]
    assert first == text(REFUSED)
    assert is_definition_text(last["text"])
    assert sent.messages[4] == history(*TURNS).messages[4]


def test_each_request_extends_the_one_before() -> None:
    sent = [expanded(history(*TURNS[:number])) for number in range(1, len(TURNS) + 1)]
    for older, newer in itertools.pairwise(sent):
        assert newer.tools == older.tools
        assert newer.messages[: len(older.messages)] == older.messages


def test_pure_and_idempotent() -> None:
    request = stub_tools(history(*TURNS))
    before = copy.deepcopy(request.body)
    once = expand_failed(request, TOOLS)
    assert request.body == before
    assert expand_failed(once, TOOLS) is once
    assert expand_failed(once, once.tools) is once


@pytest.mark.parametrize(
    "said",
    [
        REFUSED,
        "MCP error -32602: key: expected string",
        "Invalid params: key is missing",
        "Input validation error: 'key' is a required property",
        "Error executing tool x: 1 validation error for xArguments",
        "Invalid arguments for tool x: key",
    ],
)
def test_how_clients_and_servers_say_it(said: str) -> None:
    request = history(TURNS[0], [call("c", "Read", {}), result("c", said, is_error=True)])
    assert len(definitions(expanded(request))) == 1


@pytest.mark.parametrize(
    ("said", "is_error"),
    [(REFUSED, False), ("No such file or directory", True), ("", True), (None, True), ([], True)],
)
def test_other_results_stay(said: object, is_error: bool) -> None:
    request = history(TURNS[0], [call("c", "Read", {}), result("c", said, is_error=is_error)])
    assert expanded(request).messages == request.messages


def test_a_tool_in_full_is_not_told_again() -> None:
    request = history(*TURNS)
    assert expand_failed(request, request.tools) is request
    kept = stub_tools(request, keep=frozenset({"Read"}))
    assert [each["function"]["name"] for each in definitions(expand_failed(kept, request.tools))] == ["Write"]


def test_a_tool_nobody_offers_and_a_result_without_its_call() -> None:
    gone = [call("c", "Gone", {}), result("c", REFUSED, is_error=True), result("nobody", REFUSED, is_error=True)]
    request = history(TURNS[0], gone)
    assert expanded(request).messages == request.messages


def test_results_beside_it_stay() -> None:
    both = {"role": "assistant", "content": [*call("c1", "Read", {})["content"], *call("c2", "Write", {})["content"]]}
    answers = [*result("c1", "fine")["content"], *result("c2", REFUSED, is_error=True)["content"], text("And?")]
    sent = expanded(history(TURNS[0], [both, {"role": "user", "content": answers}]))
    assert [block["type"] for block in sent.messages[2]["content"]] == ["tool_result", "tool_result", "text"]
    assert sent.messages[2]["content"][0] == answers[0]
    assert [each["function"]["name"] for each in definitions(sent)] == ["Write"]
