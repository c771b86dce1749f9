"""Tool schemas in the dialect of the server that will read them, with the least removed.

A JSON Schema that Claude's API takes can be refused, or silently thinned, elsewhere: grammar compilers choke on regular
expressions with look-arounds, some servers know no `$ref`. Keywords are told from property names (a property may well
be called `format`), descriptions always stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from anyclaude_lab.wire.events import JsonObject


@dataclass(frozen=True, slots=True)
class SchemaDialect:
    """What one kind of server cannot read. Everything not named here is passed on unchanged."""

    drop: frozenset[str] = frozenset()  # keywords removed
    formats: frozenset[str] | None = None  # values of `format` that are kept; None keeps all
    const_as_enum: bool = False
    one_of_as_any_of: bool = False
    inline_refs: bool = False  # `$ref` becomes what it points at; a cycle, or too much of it, a plain object
    anchored_patterns: bool = (
        False  # patterns must be ^...$ without look-arounds and class escapes, or they are removed
    )


# The server shows the schema to the model as text and compiles nothing from it (mlx-lm).
AS_TEXT = SchemaDialect()

# quirk(llama.cpp): a pattern that is not ^...$ or that uses look-arounds or \d, \w fails the whole request.
# Source: ggml-org/llama.cpp common/json-schema-to-grammar.cpp; lmstudio-ai/lmstudio-bug-tracker#2230.
GRAMMAR = SchemaDialect(drop=frozenset({"propertyNames", "patternProperties"}), anchored_patterns=True)

# quirk(vLLM): xgrammar and outlines refuse look-arounds; the schema itself is rendered as it is.
GUIDED = SchemaDialect(anchored_patterns=True)

# quirk(ollama): schemas are read into a Go struct that knows neither `$ref` nor `const` nor `oneOf`.
# Source: ollama/ollama api/types.go, ToolFunctionParameters and ToolProperty.
STRUCT = SchemaDialect(const_as_enum=True, one_of_as_any_of=True, inline_refs=True)

# The strictest providers behind a router: 1rgs/claude-code-proxy#88, router-for-me/CLIProxyAPI#1542.
ROUTED = SchemaDialect(
    drop=frozenset({"propertyNames", "patternProperties"}),
    formats=frozenset({"enum", "date-time"}),
    const_as_enum=True,
    inline_refs=True,
    anchored_patterns=True,
)

_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SCHEMA_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMAS = frozenset(
    {"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else", "unevaluatedProperties"}
)
_META = frozenset({"$schema", "$id", "$comment"})  # say nothing to a model, cost tokens, refused by some
_MAX_NODES, _MAX_REFS_DEEP = 10_000, 10  # a few definitions that name each other twice unfold without end
_RISKY_PATTERN = re.compile(r"\(\?|\\[dDwWsSbBpP\d]")


def tool_parameters(schema: Any, dialect: SchemaDialect) -> tuple[JsonObject, tuple[str, ...]]:
    """The schema of a tool's arguments as `dialect` reads it, and the names of what had to be removed.

    Always an object schema with `type` and `properties`. The result is shared between calls: never edit it.
    """
    if not isinstance(schema, dict):
        schema = {}
    return _rewritten(orjson.dumps(schema), dialect)


@lru_cache(maxsize=1024)  # a conversation sends the same two dozen tools with every request
def _rewritten(schema: bytes, dialect: SchemaDialect) -> tuple[JsonObject, tuple[str, ...]]:
    rewriter = _Rewriter(orjson.loads(schema), dialect)
    result: JsonObject = rewriter.schema(rewriter.root, ())
    kind = {} if "type" in result else {"type": "object"}
    properties: JsonObject = {} if "properties" in result else {"properties": {}}
    return {**kind, **result, **properties}, tuple(sorted(rewriter.removed))


class _Rewriter:
    def __init__(self, root: JsonObject, dialect: SchemaDialect) -> None:
        self.root = root
        self.dialect = dialect
        self.removed: set[str] = set()
        self.nodes = 0

    def schema(self, node: Any, path: tuple[str, ...]) -> Any:
        """One schema; `path` holds the references being followed."""
        if not isinstance(node, dict):
            return node  # true, false
        self.nodes += 1
        if self.dialect.inline_refs and isinstance(node.get("$ref"), str):
            return self._referenced(node, node["$ref"], path)
        result: JsonObject = {}
        for key, value in node.items():
            if key in _META or (self.dialect.inline_refs and key in ("$defs", "definitions")):
                continue
            if key in self.dialect.drop or self._refused(key, value):
                self.removed.add(key)
                continue
            name, rewritten = self._keyword(key, value, lambda child: self.schema(child, path))
            result[name] = rewritten
        return result

    def _keyword(self, key: str, value: Any, child: Callable[[Any], Any]) -> tuple[str, Any]:
        if key == "const" and self.dialect.const_as_enum:
            return "enum", [value]
        if key in _NAMED_SCHEMAS and isinstance(value, dict):
            return key, {name: child(schema) for name, schema in value.items()}
        if isinstance(value, list) and (key in _SCHEMA_LISTS or key == "items"):
            name = "anyOf" if key == "oneOf" and self.dialect.one_of_as_any_of else key
            return name, [child(schema) for schema in value]
        return key, child(value) if key in _SCHEMAS else value

    def _refused(self, key: str, value: Any) -> bool:
        if key == "format":
            return self.dialect.formats is not None and value not in self.dialect.formats
        if key == "pattern" and self.dialect.anchored_patterns and isinstance(value, str):
            anchored = value.startswith("^") and value.endswith("$")
            return not anchored or _RISKY_PATTERN.search(value) is not None
        return False

    def _referenced(self, node: JsonObject, ref: str, path: tuple[str, ...]) -> JsonObject:
        beside: JsonObject = {key: value for key, value in node.items() if key != "$ref"}
        endless = ref in path or len(path) >= _MAX_REFS_DEEP or self.nodes > _MAX_NODES
        target = None if endless else self._target(ref)
        if not isinstance(target, dict):
            self.removed.add("$ref")
            target = {"type": "object"}
        merged: JsonObject = self.schema(target | beside, (*path, ref))
        return merged

    def _target(self, ref: str) -> Any:
        """What a local JSON pointer names; None if it names nothing here."""
        if not ref.startswith("#"):
            return None
        node: Any = self.root
        for step in ref[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            node = node.get(step) if isinstance(node, dict) else None
        return node
