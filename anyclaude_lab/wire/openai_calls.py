"""Tool calls that arrive in pieces: whose piece it is, when a call is whole, and repairs that have one reading only.

Servers differ in everything here: the index may be missing or always 0, the id absent, late, repeated or new with every
piece, the name in pieces or repeated, the arguments an object instead of text, or sent a second time at the end. A call
is whole where its JSON value closes; nothing behind that belongs to it.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.json_text import loads
from anyclaude_lab.wire.openai_content import json_text
from anyclaude_lab.wire.tool_names import ToolNames

_STRUCTURE = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_MAX_ENCODINGS = 3


class JsonEnd:
    """Finds where the first JSON value of a text closes, however the text is cut; linear."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> int | None:
        """How many characters of `text` belong to the value if it closes here, else None.

        A number or a bare word never closes: only an object, an array and a string show their end.
        """
        at = 0
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            match = (_IN_STRING if self._in_string else _STRUCTURE).search(text, at)
            if match is None:
                return None
            at = match.end()
            if self._step(match[0]):
                return at
        return None

    def _step(self, mark: str) -> bool:
        if self._in_string:
            self._escaped = mark == "\\"
            self._in_string = mark != '"'
        elif mark == '"':
            self._in_string = True
            return False
        else:
            self._depth += 1 if mark in "{[" else -1
        return not self._in_string and self._depth <= 0


class Call:
    """One tool call while it arrives."""

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id: str | None = None  # the backend's; only tells one call from another
        self.name = ""
        self.whole = False  # the arguments have closed
        self.sent = 0  # pieces already handed to the client
        self.opened = False
        self.pieces: list[str] = []
        self.chars = 0
        self._end = JsonEnd()
        self._is_object_text: bool | None = None
        self._sound: bool | None = None

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def plain(self) -> bool:
        """Whether the arguments begin as an object, which can be passed on as it comes."""
        return bool(self._is_object_text)

    def add_name(self, piece: str, names: ToolNames) -> None:
        """A name may come whole, again with every piece, growing, or in parts."""
        if not piece or piece == self.name or (self.name and self.pieces):
            return
        if not self.name or (piece.startswith(self.name) and names.offers(piece)):
            self.name = piece
        elif not names.offers(self.name) or names.offers(self.name + piece):
            self.name += piece

    def add_arguments(self, value: Any) -> None:
        """A piece of JSON text, or the whole object. What comes behind the end of the value is dropped."""
        if self.whole or value is None or value == "":
            return
        text = value if isinstance(value, str) else json_text(value)
        if not self.pieces and not text.strip():
            return
        if self._is_object_text is None:
            self._is_object_text = text.lstrip().startswith("{")
        end = self._end.feed(text)
        if end is not None:
            text, self.whole = text[:end], True
        self.chars += len(text)
        self.pieces.append(text)

    def sound(self) -> bool:
        """Whether whole arguments are strict JSON of an object, exactly as they were sent."""
        if self._sound is None:
            self._sound = repaired(self.arguments, {}) == self.arguments
        return self._sound

    def settle(self) -> None:
        """No more pieces will come: no arguments at all are an empty object, a bare word is what it says."""
        if not self.whole and repaired(self.arguments, {}) is not None:
            self.whole = True


class Calls:
    """The calls of one reply, and which of them a piece belongs to."""

    def __init__(self) -> None:
        self.all: list[Call] = []
        self._by_index: dict[int, Call] = {}

    def of(self, delta: JsonObject) -> tuple[Call, bool]:
        """The call that `delta` (an entry of `tool_calls`) is a piece of, and whether it begins here."""
        index = delta.get("index")
        index = index if isinstance(index, int) else None
        current = self._by_index.get(index) if index is not None else (self.all[-1] if self.all else None)
        new = current is None or _begins_another(delta, current)
        if current is None or new:
            current = Call(index)
            self.all.append(current)
            if index is not None:
                self._by_index[index] = current
        if isinstance(delta.get("id"), str) and delta["id"]:
            current.id = current.id or delta["id"]
        return current, new


def _begins_another(delta: JsonObject, current: Call) -> bool:
    """Whether a piece with no index, or with an index seen before, is the start of a further call."""
    function = delta.get("function") or {}
    other_id = bool(delta.get("id")) and current.id is not None and delta["id"] != current.id
    if not function.get("name"):
        return False
    if current.whole:  # quirk(Gemini's and older Ollama's endpoint): every call has index 0
        arguments = function.get("arguments")
        arguments = json_text(arguments) if isinstance(arguments, dict) else arguments
        sent_again = arguments == current.arguments and function["name"] == current.name
        return not sent_again and (other_id or (not delta.get("id") and bool(arguments)))
    return other_id and not current.pieces and current.index is None  # the one before had no arguments


def repaired(arguments: str, schema: JsonObject) -> str | None:
    """The arguments as JSON text of an object, or None if they are none.

    Mends what has one reading only: the object encoded twice, raw line breaks inside strings, a string that holds the
    list or object which the schema wants there. Unchanged text is returned as it came.
    """
    if not arguments.strip() or arguments.strip() == "null":
        return "{}"
    value, changed = _loads(arguments)
    for _ in range(_MAX_ENCODINGS):
        if not isinstance(value, str):
            break
        value, changed = _loads(value)[0], True
    if not isinstance(value, dict):
        return None
    for name, expected in structured_properties(schema).items():
        if isinstance(value.get(name), str):
            inner = _loads(value[name])[0]
            if isinstance(inner, expected):
                value[name], changed = inner, True
    return json_text(value) if changed else arguments


def structured_properties(schema: JsonObject) -> dict[str, tuple[type, ...]]:
    """The properties that must be a list or an object, and can never be a string."""
    properties = schema.get("properties")
    found: dict[str, tuple[type, ...]] = {}
    for name, definition in properties.items() if isinstance(properties, dict) else ():
        kinds = _types(definition)
        if kinds and kinds <= {"array", "object", "null"} and kinds != {"null"}:
            found[name] = tuple(python for kind, python in (("array", list), ("object", dict)) if kind in kinds)
    return found


def _types(definition: Any) -> set[str]:
    if not isinstance(definition, dict):
        return set()
    kind = definition.get("type")
    if isinstance(kind, str):
        return {kind}
    if isinstance(kind, list):
        return {str(k) for k in kind}
    branches = definition.get("anyOf") or definition.get("oneOf") or []
    kinds = [_types(branch) for branch in branches]
    return set().union(*kinds) if kinds and all(kinds) else set()


def _loads(text: str) -> tuple[Any, bool]:
    """The value, and whether the text was not strict JSON; None if it cannot be read."""
    try:
        return orjson.loads(text), False
    except orjson.JSONDecodeError:
        pass
    try:
        return loads(text.encode("utf-8", "replace")), True
    except ValueError:
        return None, False


# Their work may grow much faster than the arguments do. The client judges by them all the same.
UNJUDGED = ("pattern", "patternProperties", "unevaluatedProperties", "uniqueItems")


def fits(arguments: str, schema: JsonObject) -> bool:
    """Whether complete arguments satisfy the schema that was offered; where nobody can judge by it, any object does."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return False
    try:
        return _satisfies(value, schema)
    except Exception:  # the schema may be of any shape, and each raises something else
        return isinstance(value, dict)


def _satisfies(value: object, schema: JsonObject) -> bool:
    import jsonschema
    import referencing

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    skipped = (*UNJUDGED, "additionalProperties") if "patternProperties" in str(schema) else UNJUDGED
    judge: Any = jsonschema.validators.extend(kind, dict.fromkeys(skipped))  # type: ignore[no-untyped-call]  # jsonschema has no types for it
    return bool(judge(schema, registry=referencing.Registry()).is_valid(value))
