"""Hermes and Qwen: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.

Seen besides: `<tools>` and `<function_call>` for the tag, several objects or an array in one block, a bracket too many
or too few before the closing tag, no closing tag. A closing tag inside a string belongs to the string.
"""

from __future__ import annotations

import re

from anyclaude_lab.models.parsers.format import Format, take_marked_json
from anyclaude_lab.models.parsers.literal import SPACE
from anyclaude_lab.models.parsers.tape import NotACall, Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools

_TAGS = ("tool_call", "tools", "function_call")
_SURPLUS = re.compile(r"[\s}\]]*")


def read(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    """One block."""
    for tag in _TAGS:
        if (yield from tape.try_literal(f"<{tag}>")):
            return (yield from _block(tape, offered, f"</{tag}>"))
    raise NotACall


def _block(tape: Tape, offered: OfferedTools, closing: str) -> Reading[list[CallPiece]]:
    yield from tape.take_run(SPACE)
    calls = yield from take_marked_json(tape, offered, before=closing)
    surplus = yield from tape.take_run(_SURPLUS)
    closed = yield from tape.try_literal(closing)
    if surplus.strip() and not closed:
        raise NotACall
    return calls


FORMAT = Format(tuple(f"<{tag}>" for tag in _TAGS), read)
