"""Mistral: `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, and later `[TOOL_CALLS]name[ARGS]{...}`, one or several.

Between name and arguments an id may stand (`[CALL_ID]...`); servers that drop special tokens also drop `[ARGS]`.
There is no closing marker.
"""

from __future__ import annotations

import re

from anyclaude_lab.models.parsers.format import Format, offered_call, take_marked_json
from anyclaude_lab.models.parsers.literal import SPACE, take_bracketed, value_of
from anyclaude_lab.models.parsers.tape import Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools

_MARKER = "[TOOL_CALLS]"
_NAME = re.compile(r"[\w.-]*")


def read(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    """The array, or one named call."""
    yield from tape.take_literal(_MARKER)
    yield from tape.take_run(SPACE)
    if (yield from tape.peek(1)) in ("[", "{"):
        return (yield from take_marked_json(tape, offered))
    name = yield from tape.take_run(_NAME)
    if (yield from tape.try_literal("[CALL_ID]")):
        yield from tape.take_run(_NAME)
    yield from tape.try_literal("[ARGS]")
    yield from tape.take_run(SPACE)
    start = tape.position
    yield from take_bracketed(tape)
    return [offered_call(name, value_of(tape.since(start)), offered)]


FORMAT = Format((_MARKER,), read)
