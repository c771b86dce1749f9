"""Reading JSON that other programs wrote: strict and fast first, repaired where the damage has one certain reading.

Tool output carries lone surrogates (a file cut in the middle of an emoji), backslashes that escape nothing and raw
control characters; refusing them would end a session over a byte nobody typed.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

# In this order: a surrogate pair, half of one, any other legal escape, a backslash that escapes nothing.
_ESCAPE = re.compile(
    r"\\(?:(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r'|(?P<legal>u[0-9a-fA-F]{4}|["\\/bfnrt])|(?P<stray>))'
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64_DIGITS = 18  # every integer of so many digits fits; orjson reads longer ones past 64 bits as floats


def loads(raw: bytes) -> Any:
    """The value of a JSON text.

    Halves of surrogate pairs and bytes that are not UTF-8 become U+FFFD, a backslash that escapes nothing stays a
    backslash, control characters inside strings stay. Raises ValueError naming the place for anything else.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as strict_error:
        try:
            return _loads_repaired(raw)
        except (ValueError, RecursionError):
            raise ValueError(str(strict_error)) from None


def without_surrogates(text: str) -> str:
    """`text` as it can be encoded: each lone surrogate replaced by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _loads_repaired(raw: bytes) -> Any:
    text = _ESCAPE.sub(_repaired_escape, raw.decode("utf-8-sig", "replace"))
    return json.loads(text, strict=False, parse_constant=_refuse_constant, parse_int=_int_as_orjson)


def _repaired_escape(match: re.Match[str]) -> str:
    if match.lastgroup == "half":
        return "\ufffd"
    return "\\\\" if match.lastgroup == "stray" else match.group()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _int_as_orjson(digits: str) -> int | float:
    if len(digits) <= _INT64_DIGITS:
        return int(digits)
    value: int | float = orjson.loads(digits)
    return value
