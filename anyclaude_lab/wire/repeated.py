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
NEWLINE, BACKSLASH = b"\n\\"  # as numbers: looking for bytes in bytes costs ten times as much
MOST_IN_VAIN = 8  # frames learned and never met again: this server changes more than the text
MOST_AT_ONCE = 512  # frames that are read together, so that one that has to be mended costs no more than these


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
        self._head = self._tail = self._seam = b""  # up to the text, from its closing quote on, and from text to text
        self._in_vain = 0

    def learn(self, frame: bytes, text: str) -> bool:
        """Take in a whole frame whose string under the key is `text`; False where it is none to go by."""
        opening = self._opening.search(frame)
        if self._in_vain >= MOST_IN_VAIN or opening is None or frame.count(self._name) != 1:
            return False
        closing = _STRING_END.match(frame, opening.end())
        if closing is None or not frame.endswith(b"\n\n") or _texts(closing[0]) != [text]:
            return False
        self._head, self._tail = frame[: opening.end()], frame[closing.end() :]
        self._seam = self._tail + self._head
        self._in_vain += 1
        return True

    def read(self, data: bytes, at: int) -> Run | None:
        """The frames from `at` on, up to the first that is another, or not whole; None where that is the next one."""
        head, tail = self._head, self._tail
        if not head or not data.startswith(head, at):
            return None
        start = at + len(head)
        end = data.find(tail, start)
        if end + len(tail) == len(data):
            insides = [data[start:end]]  # alone, as it comes where tokens are being made
        else:
            insides = data[start:].split(self._seam, MOST_AT_ONCE)
            end = insides[-1].find(tail)
            insides[-1:] = [insides[-1][:end]] if end >= 0 else []
        together = b'","'.join(insides)
        if NEWLINE in together or (BACKSLASH in together and (b'\\","' in together or together.endswith(b"\\"))):
            insides = list(takewhile(_ends_there, insides))
            together = b'","'.join(insides)
        texts = _texts(together)
        if len(texts) != len(insides):  # a quote that closes nothing, or what is no string
            insides, together = insides[:1], b"".join(insides[:1])
            texts = _texts(together)
        if not insides or len(texts) != len(insides):
            return None
        self._in_vain = 0
        around = len(self._seam)
        size = len(together) - 3 * (len(insides) - 1) + len(insides) * around
        return Run(texts, insides, around, at + size)


def _ends_there(inside: bytes) -> bool:
    """Whether the tail behind it is the end of its string and of a frame like the last."""
    return b"\n" not in inside and not inside.endswith(b"\\")


def _texts(insides: bytes) -> list[str]:
    """The strings of which this stands between the first quote and the last; none where it is anything else."""
    try:
        texts: list[str] = orjson.loads(b'["' + insides + b'"]')
        "".join(texts)
    except (orjson.JSONDecodeError, TypeError):
        return []
    return texts
