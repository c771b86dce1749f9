"""Qwen3-Coder: `<tool_call><function=Name><parameter=key>value</parameter></function></tool_call>`.

Values are plain text; their types come from the tool's schema. Seen besides: the outer tag missing on either side, and
Llama 3.1's `<function=Name>{...}</function>` with JSON arguments.
"""

from __future__ import annotations

import re
from typing import Any

from anyclaude_lab.models.parsers.format import Format, offered_call
from anyclaude_lab.models.parsers.literal import SPACE, take_bracketed, value_of
from anyclaude_lab.models.parsers.tape import NotACall, Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools

_NAME = re.compile(r"[^\s<>{}]*")
_VALUE = re.compile(r"[^<]*")


def read(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    """One call; several calls are several blocks."""
    yield from tape.try_literal("<tool_call>")
    yield from tape.take_run(SPACE)
    yield from tape.take_literal("<function=")
    name = yield from tape.take_run(_NAME)
    yield from tape.take_literal(">")
    yield from tape.take_run(SPACE)
    if (yield from tape.peek(1)) == "{":
        arguments = yield from _json_arguments(tape)
    else:
        texts = yield from _parameters(tape)
        schemas = offered.get(name, {}).get("properties") or {}
        arguments = {key: typed(text, schemas.get(key)) for key, text in texts.items()}
    yield from tape.take_literal("</function>")
    yield from tape.take_run(SPACE)
    yield from tape.try_literal("</tool_call>")
    return [offered_call(name, arguments, offered)]


def _json_arguments(tape: Tape) -> Reading[Any]:
    start = tape.position
    yield from take_bracketed(tape)
    arguments = value_of(tape.since(start))
    yield from tape.take_run(SPACE)
    return arguments


def _parameters(tape: Tape) -> Reading[dict[str, str]]:
    texts = {}
    while (yield from tape.try_literal("<parameter=")):
        key = yield from tape.take_run(_NAME)
        yield from tape.take_literal(">")
        texts[key] = yield from _value(tape)
    return texts


def _value(tape: Tape) -> Reading[str]:
    """Text up to the closing tag: the first that is followed by the next parameter or the end of the call, because a
    file that is written may well contain one. One line break on either side belongs to the format."""
    start = tape.position
    while True:
        yield from tape.take_run(_VALUE)
        text = tape.position
        if not (yield from tape.try_literal("</parameter>")):
            yield from tape.take(1)
            continue
        end = text - start
        yield from tape.take_run(SPACE)
        for follower in ("<parameter=", "</function>"):
            if (yield from tape.peek(len(follower))) == follower:
                return tape.since(start)[:end].removeprefix("\n").removesuffix("\n")


def typed(text: str, schema: Any) -> Any:
    """The value that `text` stands for where the schema asks for `schema`.

    What does not fit stays text: the client then says what is wrong with it, and the model can mend it.
    """
    kinds = _kinds(schema)
    if kinds == {"string"}:
        return text
    try:
        value = value_of(text.strip())
    except NotACall:
        return text
    if isinstance(value, float) and value.is_integer() and "integer" in kinds:
        return int(value)
    fits = _kind_of(value) in (kinds or {"object", "array"})
    return value if fits else text


def _kinds(schema: Any) -> set[str]:
    """The JSON types that a schema allows, as far as it says; `number` includes `integer`."""
    if not isinstance(schema, dict):
        return set()
    named = schema.get("type")
    kinds = {named} if isinstance(named, str) else set(named) if isinstance(named, list) else set()
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        kinds |= _kinds(branch)
    kinds |= {_kind_of(value) for value in schema.get("enum", ())}
    if "const" in schema:
        kinds.add(_kind_of(schema["const"]))
    return kinds | {"integer"} if "number" in kinds else kinds


_KIND_OF_TYPE = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}


def _kind_of(value: Any) -> str:
    return _KIND_OF_TYPE[type(value)]


FORMAT = Format(("<tool_call>", "<function="), read)
