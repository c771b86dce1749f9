"""Definitions stand where the conversation asked for them."""

from __future__ import annotations

import orjson

from anyclaude_lab.prompt.deferred import place_deferred
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import call, placeholder, result, session, text, tool, web_fetch


def names(request: Request) -> list[str]:
    return [offered["name"] for offered in request.tools]


def test_the_head_never_holds_a_deferred_tool() -> None:
    for request in session():
        assert names(place_deferred(request)) == ["Bash", "Read", "ToolSearch", "Write"]


def test_the_definition_is_read_where_it_was_asked_for() -> None:
    placed = place_deferred(session()[3])
    [part] = placed.messages[5]["content"][0]["content"]
    assert part["type"] == "text"
    definition = orjson.loads(part["text"].partition("\n")[2])["function"]
    assert definition == {
        "name": "WebFetch",
        "description": "Reads a page.",
        "parameters": web_fetch()["input_schema"],
    }


def test_a_deferred_tool_nobody_asked_for_is_not_rendered() -> None:
    request = Request(
        {"model": "m", "messages": [{"role": "user", "content": "WebFetch?"}], "tools": [tool("Bash"), web_fetch()]}
    )
    assert b"Reads a page." not in orjson.dumps(place_deferred(request).body)


def test_a_missing_definition_is_one_line() -> None:
    messages = [call("t", "ToolSearch", {}), result("t", [{"type": "tool_reference", "tool_name": "Gone"}])]
    placed = place_deferred(Request({"model": "m", "messages": messages, "tools": [tool("Bash")]}))
    assert placed.messages[1]["content"][0]["content"] == [text("The tool Gone is not available.")]


def test_several_references_beside_other_parts() -> None:
    parts = [
        text("Found two."),
        {"type": "tool_reference", "tool_name": "WebFetch"},
        {"type": "tool_reference", "tool_name": "Notes"},
    ]
    messages = [call("t", "ToolSearch", {}), result("t", parts, is_error=False)]
    tools = [web_fetch(), tool("Notes", defer_loading=True)]
    placed = place_deferred(Request({"model": "m", "messages": messages, "tools": tools}))
    assert "tools" not in placed.body
    block = placed.messages[1]["content"][0]
    assert block["is_error"] is False
    assert [part["type"] for part in block["content"]] == ["text"] * 3
    assert block["content"][0] == text("Found two.")
    assert '"Notes"' in block["content"][2]["text"]


def test_what_surrounds_a_definition_does_not_reach_its_text() -> None:
    request = session()[3]
    marked = Request(
        {**request.body, "tools": [{**web_fetch(), "cache_control": {"type": "ephemeral"}, "strict": True}]}
    )
    assert place_deferred(request).messages == place_deferred(marked).messages


def test_the_placeholder_is_nowhere_even_unmarked() -> None:
    bare = {key: value for key, value in placeholder().items() if key != "defer_loading"}
    request = Request({"model": "m", "messages": [], "tools": [tool("Bash"), bare]})
    assert names(place_deferred(request)) == ["Bash"]
