"""Calls in Python's syntax: `[name(a=1, b="x"), other()]`.

Llama 3.2 and 4 write such a list as the whole message; others (LFM2) between `<|tool_call_start|>` and
`<|tool_call_end|>`. Arguments are named and are literals; a positional one could be any of them, so it is no call.
"""

from __future__ import annotations

import re
from typing import Any

from anyclaude_lab.models.parsers.format import Format, Place, offered_call, take_end
from anyclaude_lab.models.parsers.literal import SPACE, take_value, value_of
from anyclaude_lab.models.parsers.tape import NotACall, Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools

_START, _END = "<|tool_call_start|>", "<|tool_call_end|>"
_NAME = re.compile(r"[\w.-]*")
_KEY = re.compile(r"\w*")


def take_list(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    """The bracketed list, at least one call long."""
    yield from tape.take_literal("[")
    calls = []
    while True:
        yield from tape.take_run(SPACE)
        calls.append((yield from take_call(tape, offered)))
        yield from tape.take_run(SPACE)
        if not (yield from tape.try_literal(",")):
            break
    yield from tape.take_literal("]")
    return calls


def take_call(tape: Tape, offered: OfferedTools, *, suffix: str = "") -> Reading[CallPiece]:
    """`name(key=value, ...)`, with `suffix` between name and bracket."""
    name = yield from tape.take_run(_NAME)
    if not name.endswith(suffix):
        raise NotACall
    yield from tape.take_literal("(")
    arguments: dict[str, Any] = {}
    yield from tape.take_run(SPACE)
    while not (yield from tape.try_literal(")")):
        key = yield from _take_padded(tape, _KEY)
        yield from tape.take_literal("=")
        yield from tape.take_run(SPACE)
        arguments[key] = value_of((yield from take_value(tape)))
        yield from tape.take_run(SPACE)
        if not (yield from tape.try_literal(",")):
            yield from tape.take_literal(")")
            break
        yield from tape.take_run(SPACE)
    return offered_call(name.removesuffix(suffix), arguments, offered)


def _take_padded(tape: Tape, run: re.Pattern[str]) -> Reading[str]:
    text = yield from tape.take_run(run)
    yield from tape.take_run(SPACE)
    return text


def _read_message(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    calls = yield from take_list(tape, offered)
    yield from take_end(tape)
    return calls


def _read_marked(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    yield from tape.take_literal(_START)
    yield from tape.take_run(SPACE)
    calls = yield from take_list(tape, offered)
    yield from tape.take_run(SPACE)
    yield from tape.try_literal(_END)
    return calls


MESSAGE = Format(("[",), _read_message, Place.MESSAGE)
MARKED = Format((_START,), _read_marked)
