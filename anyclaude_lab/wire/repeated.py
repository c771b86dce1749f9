"""Frames that say what an earlier one said, with another text: nearly every frame of a reply.

Such a frame is known by its bytes before and behind the text, so that only the text has to be read; those of one read
are read together. What differs in anything else is left to the parsers.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import NamedTuple

import orjson

_STRING_END = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*')
BACKSLASH = ord("\\")  # as a number: looking for bytes in bytes costs ten times as much
MOST_IN_VAIN = 8  # frames learned and never met again: this server changes more than the text
MOST_AT_ONCE = 64  # frames that are read together: so many at most are looked at again where one has to be mended


class Run(NamedTuple):
    """Frames that differ in the text alone, one behind the other.

    `insides` are the texts as they stand between the quotes; `around` so many bytes of each frame are none of them.
    """

    texts: list[str]
    insides: list[bytes]
    around: int
    end: int


class RepeatedFrame:
    """The frame that was read last, and the place of the text in it: the one string under `key`."""

    def __init__(self, key: str) -> None:
        self._name = b'"%b"' % key.encode()
        self._opening = re.compile(re.escape(self._name) + rb'\s*:\s*"')
        self._head = self._tail = b""  # up to the text, and from its closing quote on
        self._in_vain = 0

    def learn(self, frame: bytes, text: str) -> bool:
        """Take in a whole frame whose string under the key is `text`; False where it is none to go by."""
        opening = self._opening.search(frame)
        if self._in_vain >= MOST_IN_VAIN or opening is None or frame.count(self._name) != 1:
            return False
        closing = _STRING_END.match(frame, opening.end())
        if closing is None or not frame.endswith(b"\n\n") or _texts([closing[0]]) != [text]:
            return False
        self._head, self._tail = frame[: opening.end()], frame[closing.end() :]
        self._in_vain += 1
        return True

    def alone(self, data: bytes) -> tuple[str, bytes] | None:
        """The text of the one frame that `data` is, and how it stands between the quotes; None where it is another.

        So frames come while a model makes token after token; then what is looked at counts, rather than how long.
        """
        head, tail = self._head, self._tail
        start, end = len(head), len(data) - len(tail)
        if not 0 < start <= end or not (data.startswith(head) and data.endswith(tail)):
            return None
        inside = data[start:end]
        try:
            text: str = orjson.loads(b'"' + inside + b'"')
        except orjson.JSONDecodeError:
            return None
        self._in_vain = 0
        return text, inside

    def read(self, data: bytes, at: int) -> Run | None:
        """The frames from `at` on, up to the first that is another, or not whole; None where that is the next one."""
        head, tail = self._head, self._tail[:-2]
        before, behind = len(head), len(tail)
        insides: list[bytes] = []
        place = at
        while head and len(insides) < MOST_AT_ONCE and data.startswith(head, place):
            start = place + before
            blank_line = data.find(b"\n\n", start)
            end = blank_line - behind
            if end < start or not data.startswith(tail, end) or data[end - 1] == BACKSLASH:
                break
            insides.append(data[start:end])
            place = blank_line + 2
        texts = _sound(insides)
        if not texts:
            return None
        self._in_vain = 0
        insides = insides[: len(texts)]
        around = before + behind + 2
        return Run(texts, insides, around, at + sum(map(len, insides)) + len(insides) * around)


def _sound(insides: list[bytes]) -> list[str]:
    """The strings, up to the first that is none."""
    texts = _texts(insides)
    if texts is None:
        each = (_texts([inside]) for inside in insides)
        texts = [one for found in takewhile(lambda found: found is not None, each) for one in found or ()]
    return texts


def _texts(insides: list[bytes]) -> list[str] | None:
    """The strings between whose quotes these stand; None where one of them is none."""
    try:
        texts: list[str] = orjson.loads(b'["' + b'","'.join(insides) + b'"]') if insides else []
        "".join(texts)
    except (orjson.JSONDecodeError, TypeError):
        return None
    return texts if len(texts) == len(insides) else None
