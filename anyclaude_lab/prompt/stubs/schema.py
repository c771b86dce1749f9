"""A tool's schema with its texts shortened: what is valid against it is what was valid before.

Only annotations are touched, and only where a schema stands: a property may well be called `description`. What a
keyword holds that nobody here knows stays as it is, and so does whatever is nested deeper than any tool's schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyclaude_lab.prompt.stubs.shorten import PARAMETER_CHARS, first_sentence
from anyclaude_lab.wire.events import JsonObject

_MAX_DEPTH = 40
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SCHEMA_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "items"})
_SCHEMAS = frozenset(
    {"items", "additionalProperties", "additionalItems", "not", "contains", "propertyNames", "if", "then", "else"}
    | {"unevaluatedProperties", "unevaluatedItems"}
)
_DROPPED = {"title": str, "$comment": str, "examples": list}  # texts, unless they are something else


def stub_schema(schema: Any, texts: Mapping[str, str]) -> Any:
    """The schema with short texts: ours from `texts` by parameter name, else the first sentence of what is there."""
    return _stub(schema, None, texts, 0)


def _stub(node: Any, own: str | None, texts: Mapping[str, str], depth: int) -> Any:
    """One schema; `own` is our text for it, if we have one."""
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        return node
    result: JsonObject = {}
    for key, value in node.items():
        if key == "description" and isinstance(value, str):
            if text := shorter(own, value, PARAMETER_CHARS):
                result[key] = text
        elif not isinstance(value, _DROPPED.get(key, ())):
            result[key] = _keyword(key, value, texts, depth + 1)
    return result


def _keyword(key: str, value: Any, texts: Mapping[str, str], depth: int) -> Any:
    child: Callable[[Any], Any] = lambda schema: _stub(schema, None, texts, depth)  # noqa: E731 - a name for one line
    if key == "properties" and isinstance(value, dict):
        return {name: _stub(schema, texts.get(name), texts, depth) for name, schema in value.items()}
    if key in _NAMED_SCHEMAS and isinstance(value, dict):
        return {name: child(schema) for name, schema in value.items()}
    if key in _SCHEMA_LISTS and isinstance(value, list):
        return [child(schema) for schema in value]
    return child(value) if key in _SCHEMAS else value


def shorter(own: str | None, text: str, limit: int) -> str:
    """Our text where we have one and it is the shorter one, else what is kept of `text`; never more than `text`."""
    if own is None:
        return first_sentence(text, limit)
    return own if len(own) < len(text) else text
