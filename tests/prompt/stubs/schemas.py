"""Schemas of tools as hypothesis draws them, and values that may or may not fit them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from anyclaude_lab.wire.events import JsonObject

TEXT_KEYS: dict[str, type | tuple[type, ...]] = {"description": str, "title": str, "$comment": str, "examples": list}

words = st.sampled_from(
    ["Short.", "A first sentence. A second one.", "x", "# Heading\n\n- one\n- two", "long words " * 30, "e.g. a. b", ""]
)
texts = st.one_of(words, st.text(st.characters(codec="utf-8"), max_size=80))
# Names that are also keywords, and names we have words for.
names = st.sampled_from(["description", "title", "examples", "type", "file_path", "timeout", "prompt", "items", "a"])
notes: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {}, optional={"description": texts, "title": texts, "$comment": texts, "examples": st.lists(texts, max_size=2)}
)


def described(schema: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    return st.builds(lambda a, b: {**a, **b}, schema, notes)


strings: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(2, 9),
        "enum": st.lists(st.sampled_from(["x", "Short.", "description"]), min_size=1, max_size=2),
        "default": texts,
        "pattern": st.just("^[a-z]+$"),
    },
)
numbers: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number", ["number", "null"]])},
    optional={"minimum": st.integers(-5, 5), "maximum": st.integers(0, 9), "exclusiveMinimum": st.integers(-9, 0)},
)
others: st.SearchStrategy[JsonObject] = st.sampled_from(
    [{"type": "boolean"}, {"const": {"description": "kept"}}, {}, {"$ref": "#/$defs/shared"}]
)
leaves = described(st.one_of(strings, numbers, others))


@st.composite
def objects(draw: st.DrawFn, children: st.SearchStrategy[JsonObject]) -> JsonObject:
    properties = draw(st.dictionaries(names, children, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(properties) or ["a"]), unique=True, max_size=2))
    extra: JsonObject = draw(
        st.sampled_from([{}, {"additionalProperties": False}, {"additionalProperties": {"type": "string"}}])
    )
    return {"type": "object", "properties": properties, "required": required, **extra}


def nested(children: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    arrays = st.builds(lambda items: {"type": "array", "items": items, "maxItems": 3}, children)
    unions = st.builds(
        lambda key, branches: {key: branches},
        st.sampled_from(["anyOf", "oneOf", "allOf"]),
        st.lists(children, min_size=1, max_size=2),
    )
    negations = st.builds(lambda schema: {"not": schema}, children)
    return described(st.one_of(objects(children), arrays, unions, negations))


anything = st.recursive(leaves, nested, max_leaves=6)
SHARED = {"type": "string", "description": "Something that several parameters share. At length.", "maxLength": 4}
schemas: st.SearchStrategy[JsonObject] = described(objects(anything)).map(lambda s: {**s, "$defs": {"shared": SHARED}})
tools: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {"name": st.sampled_from(["Read", "Bash", "Task", "mcp__a__b"]), "description": texts, "input_schema": schemas}
)

plain = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(["x", "Short.", "abcdef", ""]))


def instances(schema: Any) -> st.SearchStrategy[Any]:
    """Values that often fit."""
    if not isinstance(schema, dict):
        return plain
    if isinstance(schema.get("properties"), dict):
        optional = {name: instances(child) for name, child in schema["properties"].items()}
        return st.one_of(st.fixed_dictionaries({}, optional={**optional, "more": plain}), plain)
    if "items" in schema:
        return st.lists(instances(schema["items"]), max_size=4)
    if "const" in schema:
        return st.one_of(st.just(schema["const"]), plain)
    if branches := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return st.one_of([instances(branch) for branch in branches])
    return plain
