"""Values as models write them: JSON, JSON with slips, Python literals.

Reading finds where a value ends without understanding it; `value_of` then understands it. Only slips with one meaning
are forgiven: a comma before a closing bracket, a raw line break in a string, an escape that JSON does not know, single
quotes, Python's spelling of constants.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, NoReturn

from anyclaude_lab.models.parsers.tape import NotACall, Reading, Tape

DEPTH_LIMIT = 64  # deeper than any tool's arguments; json itself gives up at about 1000

SPACE = re.compile(r"\s*")
_QUOTES = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_BETWEEN = re.compile(r"[\s,:0-9+\-.eEtrufalsnTFNo]*")  # separators, numbers and the letters of the constants
_ATOM = re.compile(r"[\w+\-.]*")
_CLOSERS = {"{": "}", "[": "]"}

_TOKEN = re.compile(
    r"""(?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')|(?P<comma>,\s*(?=[}\]]))|(?P<word>[A-Za-z_]\w*)""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}


def take_string(tape: Tape) -> Reading[None]:
    """One quoted string, quotes included."""
    quote = yield from tape.take(1)
    if quote not in _QUOTES:
        raise NotACall
    while True:
        yield from tape.take_run(_QUOTES[quote])
        if (yield from tape.take(1)) == quote:
            return
        yield from tape.take(1)  # what the backslash escapes


def take_bracketed(tape: Tape, *, open_brackets: str = "", before: str = "") -> Reading[bool]:
    """One `{...}` or `[...]` with balanced brackets; brackets inside strings do not count.

    With `open_brackets` that much of it has been read. The answer is False where the last bracket alone is missing
    and `before` follows instead.
    """
    closers = [_CLOSERS[bracket] for bracket in open_brackets]
    while True:
        if closers:
            yield from tape.take_run(_BETWEEN)
        character = yield from tape.peek(1)
        if closers and character in _QUOTES:
            yield from take_string(tape)
            continue
        if before and len(closers) == 1 and (yield from tape.peek(len(before))) == before:
            return False
        yield from tape.take(1)
        if character in _CLOSERS and len(closers) < DEPTH_LIMIT:
            closers.append(_CLOSERS[character])
        elif not closers or character != closers.pop():
            raise NotACall
        if not closers:
            return True


def take_value(tape: Tape) -> Reading[str]:
    """One string, bracketed value, number or constant."""
    start = tape.position
    character = yield from tape.peek(1)
    if character in _CLOSERS:
        yield from take_bracketed(tape)
    elif character in _QUOTES:
        yield from take_string(tape)
    else:
        yield from tape.take_run(_ATOM)
    return tape.since(start)


def value_of(text: str) -> Any:
    """The value of a text that is one literal; raises NotACall where it is not."""
    tape = Tape(held_limit_chars=len(text))
    tape.append(text)
    tape.ended = True
    if _finished(take_value(tape)) != text:
        raise NotACall
    for spelling in (text, _TOKEN.sub(_mend, text)):
        try:
            return json.loads(spelling, strict=False, parse_float=_finite, parse_constant=_refuse)
        except ValueError:
            continue
    raise NotACall


def as_json(value: Any) -> str:
    """JSON text of such a value; half of a surrogate pair becomes the replacement character."""
    return json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finished(reading: Reading[str]) -> str:
    """What a reading of a tape that has ended comes to."""
    try:
        next(reading)
    except StopIteration as done:
        return str(done.value)
    raise NotACall


def _mend(token: re.Match[str]) -> str:
    if token["string"]:
        return json.dumps(_ESCAPE.sub(_unescape, token["string"][1:-1]))
    if token["word"]:
        return _CONSTANTS.get(token["word"], token["word"])
    return ""


def _unescape(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    if code:
        return chr(int(code, 16))
    character = escape[3]
    if character in _ESCAPED:
        return _ESCAPED[character]
    return character if character in "\"'\\/" else escape[0]


def _finite(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _refuse(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
