"""Llama 3: `<|python_tag|>` before JSON, `name.call(a=1)` or a Pythonic list; or JSON as the whole message.

JSON calls are `{"name": ..., "parameters": {...}}`, several are parted by `;`. Servers often drop the tag, so JSON
alone counts, but only as the whole message and with nothing in it that a call does not have. Python code behind the tag
(the built-in interpreter) is text.
"""

from __future__ import annotations

from anyclaude_lab.models.parsers.format import Format, Place, take_bare_json, take_end, take_marked_json
from anyclaude_lab.models.parsers.literal import SPACE
from anyclaude_lab.models.parsers.pythonic import take_call, take_list
from anyclaude_lab.models.parsers.tape import Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools

_TAG = "<|python_tag|>"


def _read_json(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    yield from tape.take_literal(_TAG)
    yield from tape.take_run(SPACE)
    return (yield from take_marked_json(tape, offered))


def _read_python(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    yield from tape.take_literal(_TAG)
    yield from tape.take_run(SPACE)
    if (yield from tape.peek(1)) == "[":
        return (yield from take_list(tape, offered))
    return [(yield from take_call(tape, offered, suffix=".call"))]


def _read_message(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    calls = yield from take_bare_json(tape, offered)
    yield from take_end(tape)
    return calls


TAGGED_JSON = Format((_TAG,), _read_json)
TAGGED_PYTHON = Format((_TAG,), _read_python)
MESSAGE = Format(("{", "["), _read_message, Place.MESSAGE)
