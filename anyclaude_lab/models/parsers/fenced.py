"""A call in a code fence: what many small models write when nobody taught them a format.

People who ask how calls look get the same text as an answer. So a fence counts only as the whole rest of the message
(several fences in a row may), its JSON must be a call and nothing else, and its language must be one of a few.
"""

from __future__ import annotations

import re

from anyclaude_lab.models.parsers import hermes, qwen_coder
from anyclaude_lab.models.parsers.format import Format, Place, Reader, take_bare_json, take_end
from anyclaude_lab.models.parsers.literal import SPACE
from anyclaude_lab.models.parsers.tape import NotACall, Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools

_LANGUAGES = ("", "json", "xml", "tool_call", "tool_code")
_FENCE = re.compile(r"`*")
_LANGUAGE = re.compile(r"[^\n`]*")


def _fenced(body: Reader) -> Format:
    def read(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
        calls: list[CallPiece] = []
        while not calls or (yield from tape.peek(1)) == "`":
            fence = yield from tape.take_run(_FENCE)
            language = yield from tape.take_run(_LANGUAGE)
            if len(fence) < 3 or language.strip().lower() not in _LANGUAGES:
                raise NotACall
            yield from tape.take_run(SPACE)
            calls += yield from body(tape, offered)
            yield from tape.take_run(SPACE)
            yield from tape.take_literal(fence)
            yield from tape.take_run(SPACE)
        yield from take_end(tape)
        return calls

    return Format(("```",), read, Place.FENCE)


FORMATS = (_fenced(take_bare_json), _fenced(hermes.read), _fenced(qwen_coder.read))
