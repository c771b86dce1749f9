"""Short texts, the same schemas: what a stub owes to the tool it stands for."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.prompt.stubs import originals, restore, stub_tool, stub_tools
from anyclaude_lab.prompt.stubs.shorten import PARAMETER_CHARS, TOOL_CHARS, first_sentence, listed
from anyclaude_lab.prompt.stubs.texts import TEXTS
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request
from tests.prompt.stubs.schemas import TEXT_KEYS, instances, schemas, tools

LONG = "This is a text of our own that goes on for longer than anybody needs. It says more. " * 8


def offered(*offered_tools: JsonObject) -> Request:
    return Request(
        {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi."}], "tools": [*offered_tools]}
    )


def client_tool(name: str, *required: str, description: str = LONG, **properties: JsonObject) -> JsonObject:
    properties = {n: {"type": "string", "description": LONG} for n in required} | properties
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"name": name, "description": description, "input_schema": schema}


def without_texts(value: Any, *, in_schema: bool = True) -> Any:
    """A schema without its texts; independent of the code that shortens them."""
    if isinstance(value, list):
        return [without_texts(part, in_schema=in_schema) for part in value]
    if not isinstance(value, dict):
        return value
    if not in_schema:
        return {key: without_texts(part) for key, part in value.items()}
    return {
        key: part if key in DATA else without_texts(part, in_schema=key not in NAMES)
        for key, part in value.items()
        if not isinstance(part, TEXT_KEYS.get(key, ()))
    }


DATA = ("enum", "const", "default", "required", "type")
NAMES = ("properties", "patternProperties", "$defs", "definitions")


@given(tools)
def test_never_longer_deterministic_idempotent_and_the_input_untouched(tool: JsonObject) -> None:
    before = copy.deepcopy(tool)
    stub = stub_tool(tool)
    assert tool == before
    assert len(orjson.dumps(stub)) <= len(orjson.dumps(tool))
    assert stub_tool(copy.deepcopy(tool)) == stub
    assert stub_tool(stub) == stub


@given(tools)
def test_everything_but_texts_stays(tool: JsonObject) -> None:
    stub = stub_tool(tool)
    assert without_texts(stub["input_schema"]) == without_texts(tool["input_schema"])
    assert list(stub) == list(tool)
    assert stub["name"] == tool["name"]


@given(schemas, st.data())
def test_what_is_valid_does_not_change(schema: JsonObject, data: st.DataObject) -> None:
    value = data.draw(instances(schema))
    stub = stub_tool({"name": "any", "description": "", "input_schema": schema})["input_schema"]
    whole, short = (jsonschema.Draft202012Validator(each) for each in (schema, stub))
    assert whole.is_valid(value) == short.is_valid(value)


@given(st.lists(tools, max_size=4, unique_by=lambda tool: tool["name"]))
def test_the_table_restores_every_tool(offered_tools: list[JsonObject]) -> None:
    request = offered(*offered_tools)
    table = originals(request)
    assert restore(stub_tools(request), table) == request


@given(st.text(max_size=300), st.integers(1, 100))
def test_a_first_sentence_is_short_and_stays_as_it_is(text: str, limit: int) -> None:
    sentence = first_sentence(text, limit)
    assert len(sentence) <= min(limit, len(text))
    assert first_sentence(sentence, limit) == sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Finds files. It is fast.", "Finds files."),
        ("# Search\n\nFinds files by name.\n\n## Usage\n- never", "Finds files by name."),
        ("\n- Finds files\n- Sorts them", "Finds files"),
        ("Finds files,\neven hidden ones. Use it.", "Finds files, even hidden ones."),
        ("Takes a suffix, e.g. .py or .ts. Case counts.", "Takes a suffix, e.g. .py or .ts."),
        ("Reads version 1.2 of it", "Reads version 1.2 of it"),
        ("# Only a heading", "Only a heading"),
        ("査す。それだけ。", "査す。"),
        ("-1 stands for all", "-1 stands for all"),
        ("", ""),
    ],
)
def test_first_sentences(text: str, sentence: str) -> None:
    assert first_sentence(text, 120) == sentence


def test_a_cut_is_behind_a_word() -> None:
    assert first_sentence("one two, three", 9) == "one two"
    assert first_sentence("x" * 50, 9) == "x" * 9


def test_our_own_words_for_the_clients_tools() -> None:
    stub = stub_tool(
        client_tool(
            "Bash",
            "command",
            timeout={"type": "number", "minimum": 0, "description": LONG},
            sandboxed={"type": "boolean", "description": "Runs it in a sandbox. " + LONG},
        )
    )
    assert stub == {
        "name": "Bash",
        "description": "Runs a shell command; the directory persists.",
        "input_schema": {
            "type": "object",
            "properties": {
                "command": {"type": "string"},
                "timeout": {"type": "number", "minimum": 0, "description": "ms"},
                "sandboxed": {"type": "boolean", "description": "Runs it in a sandbox."},
            },
            "required": ["command"],
            "additionalProperties": False,
        },
    }


def test_our_words_reach_nested_parameters() -> None:
    edit = {"type": "object", "properties": {"old_string": {"type": "string", "description": LONG}}}
    stub = stub_tool(client_tool("MultiEdit", "file_path", edits={"type": "array", "items": edit}))
    assert stub["input_schema"]["properties"]["edits"]["items"] == {
        "type": "object",
        "properties": {"old_string": {"type": "string"}},
    }


def test_another_tool_of_the_same_name_is_not_described_by_us() -> None:
    stub = stub_tool(client_tool("Read", "mailbox", description="Reads the mail. " + LONG))
    assert stub["description"] == "Reads the mail."


def test_any_other_tool_by_its_first_sentence() -> None:
    tool = client_tool("mcp__shop__order", "article", description="Orders an article at the shop. " + LONG)
    tool["input_schema"]["title"] = "OrderArguments"
    tool["input_schema"]["properties"]["title"] = {"type": "string", "description": "Of the order. " + LONG}
    stub = stub_tool(tool)
    assert stub["description"] == "Orders an article at the shop."
    assert "title" not in stub["input_schema"]
    assert stub["input_schema"]["properties"]["title"] == {"type": "string", "description": "Of the order."}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_text_of_ours_is_one_short_line(name: str) -> None:
    row = TEXTS[name]
    assert row.line.endswith(".")
    assert "\n" not in row.line
    assert len(row.line) <= 60
    assert all(len(text) < 90 for text in row.parameters.values())


def test_what_the_user_added_is_still_named() -> None:
    agents = (
        "Starts agents.\n\nAgents there are:\n- general-purpose: Does everything. (Tools: *)\n"
        "- reviewer: Reviews what others wrote. Be polite to it.\nIt is strict. (Tools: Read)\n\n"
        "Usage:\n- Notes: none\n"
    )
    assert listed(agents + LONG) == " Known: general-purpose; reviewer: Reviews what others wrote."
    skills = "Skills:\n<skill>\n<name>\ndance\n</name>\n<description>\nDances well. (user)\n</description>\n</skill>"
    assert listed(skills) == " Known: dance: Dances well."
    assert listed("Commands:\n- /ship: Ships it. (project)\n- nothing: else") == " Known: /ship: Ships it."
    stub = stub_tool(client_tool("Task", "prompt", description=agents + LONG))
    assert stub["description"].startswith(TEXTS["Task"].line + " Known: general-purpose; reviewer")
    assert stub_tool(stub) == stub


def test_order_kept_tools_deferred_tools_and_server_tools_stay() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    deferred = {**client_tool("WebFetch", "url"), "defer_loading": True}
    request = offered(client_tool("Write", "content"), search, deferred, client_tool("Bash", "command"))
    stubbed = stub_tools(request, keep=frozenset({"Bash"}))
    assert [tool["name"] for tool in stubbed.tools] == ["Write", "web_search", "WebFetch", "Bash"]
    assert stubbed.tools[1:] == request.tools[1:]
    assert stubbed.tools[0] != request.tools[0]


def test_the_form_of_an_answer_is_not_shortened() -> None:
    request = offered(client_tool("StructuredOutput", "verdict"))
    assert stub_tools(request) is request


def test_nothing_to_shorten_is_the_same_object() -> None:
    request = offered(client_tool("mcp__a__b", description="Short.", x={"type": "string"}))
    assert stub_tools(request) is request
    assert stub_tools(offered()).tools == []


ODD_SCHEMAS: dict[str, Any] = {
    "true": True,
    "list": [],
    "text": "object",
    "null": None,
    "properties of another kind": {"type": "object", "properties": ["x"], "required": "x"},
    "texts of another kind": {"type": "object", "description": {"en": "x"}, "title": 3, "examples": "none"},
    "refers to itself": {"$ref": "#", "$defs": {"a": {"$ref": "#/$defs/a", "description": LONG}}},
    "half a surrogate pair": {"type": "object", "properties": {"x": {"description": "\ud83d half. " + LONG}}},
}


@pytest.mark.parametrize("schema", ODD_SCHEMAS.values(), ids=ODD_SCHEMAS)
@pytest.mark.parametrize("name", ["Read", "mcp__a__b"])
def test_no_schema_is_too_odd(name: str, schema: Any) -> None:
    tool = {"name": name, "description": "\ud83d half. " + LONG, "input_schema": schema}
    stub = stub_tool(tool)
    assert stub_tool(stub) == stub
    assert len(repr(stub)) <= len(repr(tool))


@pytest.mark.parametrize("description", [None, 7, ["a"], {}])
def test_no_description_is_too_odd(description: Any) -> None:
    tool = {"name": "Read", "description": description}
    assert stub_tool(tool) == tool


def test_a_schema_nested_without_end_is_shortened_as_far_as_schemas_go() -> None:
    schema: JsonObject = {"type": "string", "description": LONG}
    for _ in range(3000):
        schema = {"type": "object", "properties": {"x": schema}, "description": LONG}
    stub = stub_tool({"name": "any", "description": LONG, "input_schema": schema})
    assert stub["input_schema"]["description"] == first_sentence(LONG, PARAMETER_CHARS)


def test_a_structure_that_holds_itself_ends() -> None:
    schema: JsonObject = {"type": "object", "description": LONG}
    schema["properties"] = {"self": schema}
    assert stub_tool({"name": "any", "input_schema": schema})["input_schema"]["type"] == "object"


def test_texts_of_megabytes() -> None:
    huge = "word " * 400_000
    tool = client_tool("any", "x", description=huge)
    tool["input_schema"]["properties"]["x"]["description"] = huge
    stub = stub_tool(tool)
    assert len(stub["description"]) <= TOOL_CHARS


def test_two_thousand_tools() -> None:
    request = offered(*(client_tool(f"mcp__many__{n}", "x") for n in range(2000)))
    stubbed = stub_tools(request)
    assert [tool["name"] for tool in stubbed.tools] == [tool["name"] for tool in request.tools]
    assert {tool["description"] for tool in stubbed.tools} == {first_sentence(LONG, TOOL_CHARS)}


FAULTS: dict[str, tuple[JsonObject, Any]] = {
    "a bound is lost": ({"x": {"type": "integer", "minimum": 1}}, {"x": {"type": "integer"}}),
    "a property is taken for a text": ({"description": {"type": "string"}}, {}),
    "an enumeration is lost": ({"x": {"enum": ["description"]}}, {"x": {}}),
    "a constant is taken for a schema": ({"x": {"const": {"title": "t"}}}, {"x": {"const": {}}}),
}


@pytest.mark.parametrize(("properties", "stubbed"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_stub_would_be_seen(properties: JsonObject, stubbed: JsonObject) -> None:
    assert without_texts({"properties": stubbed}) != without_texts({"properties": properties})
    stub = stub_tool({"name": "any", "input_schema": {"properties": properties}})
    assert stub["input_schema"]["properties"] == properties
