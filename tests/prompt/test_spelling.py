"""Arguments, definitions and thinking in one spelling."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.prompt.spelling import drop_thinking, spell_calls, spell_tools
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import call, result, text, tool

EDIT: JsonObject = {
    "name": "Edit",
    "description": "Edits.",
    "input_schema": {
        "type": "object",
        "properties": {
            "file_path": {"type": "string"},
            "old_string": {"type": "string"},
            "new_string": {"type": "string"},
            "replace_all": {"type": "boolean", "default": False},
            "count": {"type": "integer", "default": 0},
        },
        "required": ["file_path", "old_string", "new_string", "count"],
    },
}


def spelled(arguments: JsonObject, tools: list[JsonObject] | None = None) -> list[tuple[str, Any]]:
    request = Request({"model": "m", "messages": [call("t", "Edit", arguments)], "tools": tools or [EDIT]})
    return list(spell_calls(request).messages[0]["content"][0]["input"].items())


def test_the_clients_rewriting_is_undone() -> None:
    written = {"file_path": "a", "old_string": "b", "new_string": "c", "count": 0}
    sent_back = {"replace_all": False, "count": 0, "new_string": "c", "old_string": "b", "file_path": "a"}
    assert spelled(sent_back) == spelled(written) == list(written.items())


def test_what_says_something_stays() -> None:
    assert ("replace_all", True) in spelled({"replace_all": True})
    assert ("replace_all", 0) in spelled({"replace_all": 0})  # equal to false, but another value
    assert ("count", 0) in spelled({"count": 0})  # required
    assert spelled({"zeta": 1, "file_path": "a", "alpha": 2}) == [("file_path", "a"), ("zeta", 1), ("alpha", 2)]


def test_unknown_tools_are_left_alone() -> None:
    request = Request({"model": "m", "messages": [call("t", "Gone", {"b": 1, "a": 2})], "tools": [EDIT]})
    assert spell_calls(request) is request
    for schema in ({}, {"properties": 3}, {"properties": {"a": 1}, "required": 5}, None):
        assert spelled({"b": 1, "c": 2}, [{**EDIT, "input_schema": schema}]) == [("b", 1), ("c", 2)]


def test_a_definition_that_comes_later_changes_no_earlier_call() -> None:
    deferred = {**EDIT, "defer_loading": True}
    early, late = (
        call("t1", "Edit", {"new_string": "c", "file_path": "a"}),
        call("t3", "Edit", {"new_string": "c", "file_path": "a"}),
    )
    loading = [call("t2", "ToolSearch", {}), result("t2", [{"type": "tool_reference", "tool_name": "Edit"}])]
    before = Request({"model": "m", "messages": [early], "tools": [tool("Bash")]})
    after = Request({"model": "m", "messages": [early, *loading, late], "tools": [tool("Bash"), deferred]})
    assert spell_calls(after).messages[0] == spell_calls(before).messages[0]
    assert list(spell_calls(after).messages[0]["content"][0]["input"]) == ["new_string", "file_path"]
    assert list(spell_calls(after).messages[3]["content"][0]["input"]) == ["file_path", "new_string"]


def shuffled(value: Any) -> Any:
    """Equal, with every object's keys the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_equal_definitions_are_equal_bytes() -> None:
    other = {key: EDIT[key] for key in reversed(EDIT)}
    other["input_schema"] = {key: EDIT["input_schema"][key] for key in reversed(EDIT["input_schema"])}
    requests = [Request({"model": "m", "messages": [], "tools": [definition]}) for definition in (EDIT, other)]
    first, second = (orjson.dumps(spell_tools(request).tools) for request in requests)
    assert first == second
    assert orjson.loads(first) == [EDIT]
    assert b'"file_path":{"type":"string"},"old_string"' in first  # the order of parameters is the model's


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "properties", "items", "enum", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "$defs", "anyOf", "enum"]), json, max_size=4))
def test_spelling_a_definition_changes_no_value(schema: JsonObject) -> None:
    definition = {"input_schema": schema, "name": "X"}
    before = copy.deepcopy(definition)
    request = Request({"model": "m", "messages": [], "tools": [definition]})
    once = spell_tools(request)
    assert definition == before
    assert once.tools == [definition]
    assert spell_tools(once) is once


def test_thinking_goes_and_words_stay() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    messages = [
        {"role": "assistant", "content": [thought, text("Yes.")]},
        {"role": "user", "content": [text("Why?")]},
        {"role": "assistant", "content": [thought, {"type": "redacted_thinking", "data": "x"}]},
        {"role": "assistant", "content": "Because."},
    ]
    done = drop_thinking(Request({"model": "m", "messages": messages}))
    assert [message["content"] for message in done.messages] == [[text("Yes.")], [text("Why?")], "Because."]
    assert drop_thinking(done) is done
