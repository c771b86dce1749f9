"""Deferring by us: the names in the prompt, the definition where the model asks for it."""

from __future__ import annotations

import copy
import itertools

import orjson
import pytest

from anyclaude_lab.prompt.defer import choose_deferred, defer_tools
from anyclaude_lab.prompt.deferred import place_deferred
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import call, result, session, text, tool

MANY = tuple(sorted(f"mcp__catalogue__thing_{n}" for n in range(40)))


def with_servers(request: Request) -> Request:
    return Request({**request.body, "tools": [*request.tools, *map(tool, MANY)]})


def heavy() -> list[Request]:
    """A session beside a server of forty tools; the model loads one, and the client answers with a reference."""
    requests = [with_servers(request) for request in session()]
    asked: list[JsonObject] = [
        call("toolu_9", "ToolSearch", {"query": f"select:{MANY[3]}"}),
        result("toolu_9", [{"type": "tool_reference", "tool_name": MANY[3]}]),
    ]
    longer = [*requests[-1].messages, {"role": "assistant", "content": [text("Let me see.")]}]
    last = Request({**requests[-1].body, "messages": [*longer[:-1], *asked]})
    return [*requests, last]


def tokens(value: str) -> int:
    return len(value) // 4


def test_many_servers_are_deferred_and_few_are_not() -> None:
    first = heavy()[0]
    assert choose_deferred(first, tokens) == MANY
    assert choose_deferred(first, tokens, most_tokens=100_000) == ()
    assert choose_deferred(session()[0], tokens) == ()


def test_the_choice_does_not_depend_on_history_or_order() -> None:
    requests = heavy()
    turned = Request({**requests[0].body, "tools": requests[0].tools[::-1]})
    assert {choose_deferred(request, tokens) for request in [*requests, turned]} == {MANY}


def test_the_head_has_the_rest_and_the_prompt_the_names() -> None:
    placed = place_deferred(defer_tools(heavy()[0], names=MANY))
    assert [offered["name"] for offered in placed.tools] == ["Bash", "Read", "ToolSearch", "Write"]
    notice = placed.messages[0]["content"][0]["text"]
    assert set(MANY) < set(notice.split("\n"))
    assert "does what its name says" not in notice


def test_the_definition_stands_where_the_model_asked_for_it() -> None:
    placed = place_deferred(defer_tools(heavy()[-1], names=MANY))
    [part] = placed.messages[-1]["content"][0]["content"]
    definition = orjson.loads(part["text"].partition("\n")[2])["function"]
    assert definition["name"] == MANY[3]
    assert definition["parameters"] == tool(MANY[3])["input_schema"]


def test_each_request_extends_the_one_before() -> None:
    placed = [place_deferred(defer_tools(request, names=MANY)) for request in heavy()]
    assert all(request.tools == placed[0].tools for request in placed)
    for older, newer in itertools.pairwise(placed[:1] + placed[-1:]):
        bare = orjson.dumps(older.messages[0]["content"][0])
        assert bare == orjson.dumps(newer.messages[0]["content"][0])


@pytest.mark.parametrize("number", range(6))
def test_pure_and_idempotent(number: int) -> None:
    request = heavy()[number]
    before = copy.deepcopy(request.body)
    once = defer_tools(request, names=MANY)
    assert request.body == before
    assert defer_tools(once, names=MANY) is once
    placed = place_deferred(once)
    assert defer_tools(placed, names=MANY) is placed


def test_a_client_without_tool_search_keeps_its_tools() -> None:
    """It would answer a call of ToolSearch with an error, and the model could load nothing."""
    first = heavy()[0]
    without = Request({**first.body, "tools": [t for t in first.tools if t["name"] != "ToolSearch"]})
    assert choose_deferred(without, tokens) == ()
    assert defer_tools(without, names=MANY) is without


def test_nothing_to_defer_is_the_same_object() -> None:
    request = session()[0]
    assert defer_tools(request, names=()) is request
    assert defer_tools(request, names=("ToolSearch",)) is request


def test_the_notice_stands_behind_results() -> None:
    """A history that was cut may begin with results, which must come first in their message."""
    messages = [{"role": "user", "content": [*result("t", "x")["content"], text("Go on.")]}]
    deferred = defer_tools(Request({**heavy()[0].body, "messages": messages}), names=MANY)
    assert [block["type"] for block in deferred.messages[0]["content"]] == ["tool_result", "text", "text"]
    assert deferred.messages[0]["content"][2] == text("Go on.")
