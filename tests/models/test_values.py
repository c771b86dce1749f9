"""Values of Qwen3-Coder's parameters take the type that the schema asks for, and stay text where they do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from anyclaude_lab.models.parsers.qwen_coder import typed

TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("text", "schema", "expected"),
    [
        ("12", TEXT, "12"),
        ("null", TEXT, "null"),
        (' {"a": 1} ', TEXT, ' {"a": 1} '),
        ("12", {"type": "integer"}, 12),
        (" 12\n", {"type": "integer"}, 12),
        ("12.0", {"type": "integer"}, 12),
        ("12.5", {"type": "integer"}, "12.5"),
        ("twelve", {"type": "integer"}, "twelve"),
        ("true", {"type": "integer"}, "true"),
        ("1e3", {"type": "number"}, 1000),
        ("-0.5", {"type": "number"}, -0.5),
        ("NaN", {"type": "number"}, "NaN"),
        ("1e999", {"type": "number"}, "1e999"),
        ("true", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ("1", {"type": "boolean"}, "1"),
        ("null", {"type": ["string", "null"]}, None),
        ("5", {"type": ["string", "null"]}, "5"),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5),
        ('["a"]', {"type": "array"}, ["a"]),
        ("['a',]", {"type": "array"}, ["a"]),
        ("a, b", {"type": "array"}, "a, b"),
        ('{"a": [1]}', {"type": "object"}, {"a": [1]}),
        ('{"a": ', {"type": "object"}, '{"a": '),
        ("high", {"enum": ["low", "high"]}, "high"),
        ("2", {"enum": [1, 2]}, 2),
        ("2", {"const": "2"}, "2"),
        ('{"a": 1}', {}, {"a": 1}),
        ("12", {}, "12"),
        ("12", None, "12"),
        ("12", True, "12"),
        ("[" * 100_000, {"type": "array"}, "[" * 100_000),
        ("[" * 9_000 + "]" * 9_000, {"type": "array"}, "[" * 9_000 + "]" * 9_000),
        ('"' + '\\"' * 100_000, {"type": "object"}, '"' + '\\"' * 100_000),
        ("9" * 10_000, {"type": "integer"}, "9" * 10_000),
    ],
)
def test_typed(text: str, schema: Any, expected: Any) -> None:
    value = typed(text, schema)
    assert value == expected
    assert type(value) is type(expected) or schema == {"type": "number"}
