"""Rule 11: tool schemas with the least removed, per server."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.wire.schema_dialect import AS_TEXT, GRAMMAR, GUIDED, ROUTED, STRUCT, SchemaDialect, tool_parameters

RICH = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "url": {"type": "string", "format": "uri", "description": "where"},
        "when": {"type": "string", "format": "date-time"},
        "mode": {"const": "fast"},
        "size": {"type": ["integer", "null"], "exclusiveMinimum": 0},
        "env": {"type": "object", "propertyNames": {"pattern": "^[A-Z]+$"}, "additionalProperties": {"type": "string"}},
        "id": {"type": "string", "pattern": "^(?!x).+$"},
        "digits": {"type": "string", "pattern": "^\\d+$"},
        "code": {"type": "string", "pattern": "^[a-z]{3}$"},
        "node": {"$ref": "#/$defs/node", "description": "the root"},
        "either": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        "format": {"type": "string", "format": "email"},
        "pattern": {"type": "string"},
        "const": {"type": "string"},
    },
    "required": ["url"],
    "additionalProperties": False,
    "$defs": {
        "node": {
            "type": "object",
            "description": "a node",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
        }
    },
}
NAMES = set(RICH["properties"])  # type: ignore[call-overload]  # JSON


def parameters(schema: Any, dialect: SchemaDialect) -> dict[str, Any]:
    return tool_parameters(schema, dialect)[0]


@pytest.mark.parametrize("dialect", [AS_TEXT, GRAMMAR, GUIDED, STRUCT, ROUTED])
def test_properties_named_like_keywords_and_descriptions_always_stay(dialect: SchemaDialect) -> None:
    result = parameters(RICH, dialect)
    assert set(result["properties"]) == NAMES
    assert result["properties"]["url"]["description"] == "where"
    assert result["required"] == ["url"]
    assert result["additionalProperties"] is False
    assert "$schema" not in result


def test_a_server_that_shows_the_schema_as_text_gets_it_as_it_is() -> None:
    without_meta = {key: value for key, value in RICH.items() if key != "$schema"}
    assert tool_parameters(RICH, AS_TEXT) == (without_meta, ())


@pytest.mark.parametrize("dialect", [GRAMMAR, GUIDED, ROUTED])
def test_patterns_no_grammar_can_be_built_from_are_removed(dialect: SchemaDialect) -> None:
    properties = parameters(RICH, dialect)["properties"]
    assert "pattern" not in properties["id"]
    assert "pattern" not in properties["digits"]
    assert properties["code"]["pattern"] == "^[a-z]{3}$"


def test_references_are_written_out_and_cycles_end() -> None:
    result, removed = tool_parameters(RICH, STRUCT)
    node = result["properties"]["node"]
    assert node["description"] == "the root"
    assert node["properties"]["name"] == {"type": "string"}
    assert node["properties"]["children"]["items"] == {"type": "object"}
    assert "$ref" not in json.dumps(result)
    assert "$defs" not in result
    assert removed == ("$ref",)


@pytest.mark.parametrize("ref", ["#/$defs/missing", "https://example.com/s.json", "#"])
def test_references_that_lead_nowhere_or_to_the_root_become_an_object(ref: str) -> None:
    result = parameters({"type": "object", "properties": {"x": {"$ref": ref}}}, STRUCT)
    assert result["properties"]["x"]["type"] == "object"


@pytest.mark.parametrize("dialect", [STRUCT, ROUTED])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_definitions_that_unfold_without_end_stay_small(dialect: SchemaDialect, times: int) -> None:
    """Each of 300 definitions names the next one `times` times: a chain, or a tree nobody could write down."""

    def names(number: int) -> dict[str, Any]:
        return {f"p{n}": {"$ref": f"#/$defs/d{number + 1}"} for n in range(times)}

    definitions = {f"d{number}": {"type": "object", "properties": names(number)} for number in range(300)}
    schema = {"type": "object", "properties": names(-1), "$defs": definitions | {"d300": {"type": "string"}}}
    result, removed = tool_parameters(schema, dialect)
    assert "$ref" not in json.dumps(result)
    assert len(json.dumps(result)) < 2_000_000
    assert removed == ("$ref",)


def test_what_a_go_struct_does_not_know_is_said_in_other_words() -> None:
    properties = parameters(RICH, STRUCT)["properties"]
    assert properties["mode"] == {"enum": ["fast"]}
    assert properties["either"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_formats_outside_the_list_go_and_are_reported() -> None:
    result, removed = tool_parameters(RICH, ROUTED)
    assert "format" not in result["properties"]["url"]
    assert result["properties"]["when"]["format"] == "date-time"
    assert result["properties"]["format"] == {"type": "string"}
    assert removed == ("$ref", "format", "pattern", "propertyNames")


@pytest.mark.parametrize("schema", [None, {}, "x", {"type": "object"}, {"properties": {}}, {"required": []}])
def test_missing_parts_are_added(schema: Any) -> None:
    result = parameters(schema, AS_TEXT)
    assert (result["type"], result["properties"]) == ("object", {})


_LEAVES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "boolean", "null"]),
        "description": st.text(max_size=5),
        "format": st.sampled_from(["uri", "email", "date-time"]),
        "pattern": st.sampled_from(["^a$", "(?=x)y", "^\\w$"]),
        "const": st.sampled_from(["a", 1, None]),
        "minLength": st.integers(0, 2),
    },
)
_SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["a", "format", "$ref", "items"]), inner, max_size=3).map(
            lambda p: {"type": "object", "properties": p}
        ),
        inner.map(lambda i: {"type": "array", "items": i}),
        st.lists(inner, min_size=1, max_size=2).map(lambda o: {"oneOf": o}),
    ),
    max_leaves=6,
)


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["a", "xx"]),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.sampled_from(["a", "items"]), v, max_size=2),
)


@pytest.mark.parametrize("dialect", [GRAMMAR, STRUCT, ROUTED])
@given(_SCHEMAS, _VALUES)
def test_a_rewritten_schema_is_valid_and_refuses_nothing_that_was_right(
    dialect: SchemaDialect, schema: Any, value: Any
) -> None:
    wrapped = {"type": "object", "properties": {"x": schema}}
    loose = parameters(wrapped, dialect)
    jsonschema.Draft202012Validator.check_schema(loose)
    one_of_kept = "oneOf" not in json.dumps(schema)  # anyOf takes more than oneOf, never less
    if one_of_kept and jsonschema.Draft202012Validator(wrapped).is_valid({"x": value}):
        assert jsonschema.Draft202012Validator(loose).is_valid({"x": value})
