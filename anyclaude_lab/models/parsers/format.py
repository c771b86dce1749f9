"""What a format of tool calls written as text is, and what the formats have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from anyclaude_lab.models.parsers.literal import SPACE, as_json, take_bracketed, take_string, value_of
from anyclaude_lab.models.parsers.tape import NotACall, Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools

# Reads one stretch of text that is nothing but calls, from its opening on. Raises NotACall at the first character that
# shows otherwise: a stretch is calls from end to end, or text from end to end.
Reader = Callable[[Tape, OfferedTools], Reading[list[CallPiece]]]


class Place(Enum):
    """Where a format's opening may stand."""

    ANYWHERE = "anywhere"  # a marker that prose does not contain
    MESSAGE = "message"  # at the beginning; the reader claims the whole message
    FENCE = "fence"  # a line of backticks; the reader claims the whole rest of the message


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write calls as text."""

    openings: tuple[str, ...]
    read: Reader
    place: Place = Place.ANYWHERE


_KEYS = frozenset({"name", "arguments", "parameters", "function", "type", "id"})
_COLON = re.compile(r"[\s:]*")
_SEPARATOR = re.compile(r"[\s,;]*")

# What may stand behind a call that claims the rest of the message.
_ENDS = ("</tool_call>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<end_of_turn>", "</s>")


def take_marked_json(tape: Tape, offered: OfferedTools, *, before: str = "") -> Reading[list[CallPiece]]:
    """JSON calls behind a marker: missing arguments are none, further keys do not matter."""
    return (yield from _take_json(tape, offered, True, before))


def take_bare_json(tape: Tape, offered: OfferedTools) -> Reading[list[CallPiece]]:
    """JSON calls without a marker: a name, an object of arguments, and nothing that a call does not have."""
    return (yield from _take_json(tape, offered, False, ""))


def take_end(tape: Tape) -> Reading[None]:
    """The end of the message, after space and end-of-turn tokens."""
    while True:
        yield from tape.take_run(SPACE)
        if not (yield from tape.peek(1)):
            return
        for end in _ENDS:
            if (yield from tape.try_literal(end)):
                break
        else:
            raise NotACall


def offered_call(name: Any, arguments: Any, offered: OfferedTools) -> CallPiece:
    """The call, if the request offers this tool and the arguments are an object."""
    if not isinstance(name, str) or name not in offered or not isinstance(arguments, dict):
        raise NotACall
    return CallPiece(name, as_json(arguments))


def _take_json(tape: Tape, offered: OfferedTools, marked: bool, before: str) -> Reading[list[CallPiece]]:
    """`{...}`, several of them, or an array of them."""
    array = yield from tape.try_literal("[")
    yield from tape.take_run(SPACE)
    calls = []
    while True:
        text = yield from _take_object(tape, offered, marked, before)
        calls.append(_call_of(value_of(text), offered, marked))
        separator = yield from tape.take_run(_SEPARATOR)
        if (yield from tape.peek(1)) != "{":
            break
    if array:
        yield from tape.take_literal("]")
    elif separator.strip():
        raise NotACall
    return calls


def _take_object(tape: Tape, offered: OfferedTools, marked: bool, before: str) -> Reading[str]:
    """One `{...}`, given up at a first key that no call has.

    Without a marker a first value that is no offered name ends it too: other JSON, which the user waits for, often
    begins with a name.
    """
    start = tape.position
    yield from tape.take_literal("{")
    yield from tape.take_run(SPACE)
    key = yield from _take_string(tape)
    if key not in _KEYS:
        raise NotACall
    if key == "name" and not marked:
        yield from tape.take_run(_COLON)
        if (yield from _take_string(tape)) not in offered:
            raise NotACall
    closed = yield from take_bracketed(tape, open_brackets="{", before=before)
    return tape.since(start) + ("" if closed else "}")


def _take_string(tape: Tape) -> Reading[str]:
    start = tape.position
    yield from take_string(tape)
    return str(value_of(tape.since(start)))


def _call_of(value: Any, offered: OfferedTools, marked: bool) -> CallPiece:
    if not marked and not value.keys() <= _KEYS:
        raise NotACall
    if isinstance(value.get("function"), dict):
        value = value["function"]
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str) and arguments.strip():
        arguments = value_of(arguments)  # encoded twice
    if marked and not arguments:
        arguments = {}
    return offered_call(value.get("name"), arguments, offered)
