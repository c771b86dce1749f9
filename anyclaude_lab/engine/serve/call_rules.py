"""What may stand between the markers of a tool call, in llguidance's dialect of Lark. PURE.

hermes        {"name": "Read", "arguments": {...}}
qwen coder    <function=Read>, then one <parameter=...> after another in the order of the schema, </function>
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anyclaude_lab.engine.serve.call_forms import QWEN_CODER, CallForm
from anyclaude_lab.wire.events import JsonObject

# As models were trained to write it; what the library does not know is let through rather than refused.
STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}
# quirk(llguidance): where the next letters are certain it lets through only the tokens in which it would spell them
# itself, and they may not reach beyond. Models may have longer ones.
OPTIONS = '%llguidance {"no_forcing": true}'
# quirk(llguidance): a number without bounds may have any exponent, and 4e358 is none that a client could be given.
LARGEST = 1e15
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
VALUES = ("enum", "const", "default", "examples")  # what stands in them is no schema
NAMED_SCHEMAS = ("properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions")
END_OF_VALUE = "\n</parameter>\n"


def call_rules(tools: Mapping[str, JsonObject], form: CallForm, closing: str) -> str:
    """A grammar for one call of any of `tools` (name -> schema), up to and with `closing`."""
    names = [f"call{number}" for number in range(len(tools))]
    rules = [OPTIONS, f'start: "\\n"? ({" | ".join(names)}) "\\n"? {closing}']
    body = _tagged if form is QWEN_CODER else _json
    for rule, (name, schema) in zip(names, tools.items(), strict=True):
        rules += body(rule, name, schema)
    return "\n".join(rules) + "\n"


def _json(rule: str, name: str, schema: JsonObject) -> list[str]:
    head = json.dumps(f'{{"name": {json.dumps(name)}, "arguments": ')
    return [f'{rule}: {head} {_value(schema)} "}}"']


def _tagged(rule: str, name: str, schema: JsonObject) -> list[str]:
    """Each parameter is a rule of its own; those that are not required may be left out."""
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    rules, parts = [], []
    for number, (parameter, of) in enumerate(_properties(schema).items()):
        part, opening = f"{rule}_{number}", json.dumps(f"<parameter={parameter}>\n")
        parts.append(part if parameter in schema.get("required", ()) else f"{part}?")
        if of.get("type") == "string" and "enum" not in of:
            rules += [f"{part}: {opening} {part}_text", f"{part}_text[suffix={json.dumps(END_OF_VALUE)}]: /(?s:.*)/"]
        elif all(isinstance(choice, str) for choice in of.get("enum", [None])):
            words = " | ".join(map(json.dumps, of["enum"]))
            rules.append(f"{part}: {opening} ({words}) {json.dumps(END_OF_VALUE)}")
        else:
            rules.append(f"{part}: {opening} {_value(of | shared)} {json.dumps(END_OF_VALUE)}")
    head, tail = json.dumps(f"<function={name}>\n"), json.dumps("</function>")
    return [f"{rule}: {' '.join([head, *parts, tail])}", *rules]


def _properties(schema: JsonObject) -> dict[str, JsonObject]:
    found = schema.get("properties")
    return {name: of for name, of in found.items() if isinstance(of, dict)} if isinstance(found, dict) else {}


def _value(schema: JsonObject) -> str:
    return f"%json {json.dumps(_finite(schema) | {'x-guidance': STYLE})}"


def _finite(schema: Any) -> Any:
    """The schema, or a list of them, with bounds for numbers that have none."""
    if isinstance(schema, list):
        return [_finite(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {keyword: _finite_below(keyword, value) for keyword, value in schema.items()}
    kinds = schema.get("type")
    if (kinds == "number" or (isinstance(kinds, list) and "number" in kinds)) and not inner.keys() & {*BOUNDS}:
        inner |= {"minimum": -LARGEST, "maximum": LARGEST}
    return inner


def _finite_below(keyword: str, value: Any) -> Any:
    """The same for what stands behind a keyword: a name of a property is none, whatever it is called."""
    if keyword in VALUES:
        return value
    if keyword in NAMED_SCHEMAS and isinstance(value, dict):
        return {name: _finite(of) for name, of in value.items()}
    return _finite(value)
