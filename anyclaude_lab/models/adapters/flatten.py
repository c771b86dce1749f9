"""Objects inside a tool's arguments as dotted parameters, and back.

Some families fill in a flat list of parameters well and lose themselves in objects inside objects. Where both forms say
the same, `{"source": {"file": ...}}` is asked for as `source.file`, shown so in past calls, and put together again
before the client sees it. An object stays as it is where the flat form could let through what the client refuses: it
may be left out although it has required parts, takes names that are not declared, or is bound by more than its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from anyclaude_lab.wire.events import JsonObject

_PLAIN = frozenset({"type", "properties", "required", "additionalProperties", "description", "title"})
_PLAIN_ROOT = _PLAIN | {"$schema", "$id", "$comment", "$defs", "definitions"}
_POINTS_INSIDE = b'"#/properties'  # a reference that flattening would break


@dataclass(frozen=True, slots=True)
class FlatSchema:
    """A schema with one level less. `places`: dotted parameter -> (object, part). Shared between calls: never edit."""

    schema: JsonObject
    places: Mapping[str, tuple[str, str]]
    required_objects: tuple[str, ...]

    def flattened(self, arguments: JsonObject) -> JsonObject:
        """The arguments of a past call as the schema asks for them; an object that does not fit it stays as it is."""
        if not self.places.keys().isdisjoint(arguments):
            return arguments
        result: JsonObject = {}
        for name, value in arguments.items():
            dotted = {f"{name}.{part}": inner for part, inner in value.items()} if isinstance(value, dict) else {}
            result |= dotted if dotted and dotted.keys() <= self.places.keys() else {name: value}
        return result

    def nested(self, arguments: JsonObject) -> JsonObject:
        """What the model wrote as the client knows it. The model may have nested an object all the same."""
        result: JsonObject = {}
        for name, value in arguments.items():
            parent, part = self.places.get(name, (name, None))
            before = result.get(parent)
            known = before if isinstance(before, dict) else {}
            if part is not None:
                result[parent] = {**known, part: value}
            else:
                result[parent] = {**known, **value} if isinstance(value, dict) else value
        return result | {name: {} for name in self.required_objects if name not in result}


def flat_schema(schema: Any) -> FlatSchema | None:
    """The flat form of a tool's schema; None where nothing is nested, or nothing can be flattened."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    children = properties.values() if isinstance(properties, dict) else ()
    if not any(isinstance(child, dict) and "properties" in child for child in children):
        return None
    try:
        return _flat(orjson.dumps(schema))
    except (TypeError, ValueError):  # half a surrogate pair, an endless structure: nothing that came over a wire
        return None


@lru_cache(maxsize=512)  # a conversation sends the same tools with every request
def _flat(spelled: bytes) -> FlatSchema | None:
    schema: JsonObject = orjson.loads(spelled)
    required = schema.get("required", [])
    if not schema.keys() <= _PLAIN_ROOT or not isinstance(required, list) or _POINTS_INSIDE in spelled:
        return None
    if any("." in name for name in schema["properties"]):
        return None  # it is flat already, or its own names would be taken for ours
    objects = {
        name: child for name, child in schema["properties"].items() if _flattens(child, is_required=name in required)
    }
    places = {f"{name}.{part}": (name, part) for name, child in objects.items() for part in child["properties"]}
    if not places:
        return None
    properties: JsonObject = {}
    for name, child in schema["properties"].items():
        properties |= _parts(name, child) if name in objects else {name: child}
    flat = {**schema, "properties": properties}
    if required:
        flat["required"] = [each for name in required for each in _required(name, objects.get(name))]
    return FlatSchema(flat, places, tuple(name for name in required if name in objects))


def _flattens(schema: Any, *, is_required: bool) -> bool:
    """Whether an object is nothing but its parts."""
    return (
        isinstance(schema, dict)
        and schema.get("type") == "object"
        and isinstance(schema.get("properties"), dict)
        and bool(schema["properties"])
        and schema.get("additionalProperties") is False
        and isinstance(schema.get("required", []), list)
        and (is_required or not schema.get("required"))
        and schema.keys() <= _PLAIN
    )


def _parts(name: str, schema: JsonObject) -> JsonObject:
    """The parts of an object by their dotted names; what is said of the object is said of the first."""
    parts = {f"{name}.{part}": child for part, child in schema["properties"].items()}
    first, child = next(iter(parts.items()))
    about = [text for text in (schema.get("description"), _text(child)) if text]
    return parts | {first: {**child, "description": " ".join(about)}} if about and isinstance(child, dict) else parts


def _required(name: str, schema: JsonObject | None) -> list[str]:
    return [name] if schema is None else [f"{name}.{part}" for part in schema.get("required", [])]


def _text(schema: Any) -> Any:
    return schema.get("description") if isinstance(schema, dict) else None
