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
AT_ONCE_BYTES = 2048, 256 * 1024  # that are read together: fewer where frames differ, for those are looked at again


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
        self._lines = 2  # of a frame, the blank one as well
        self._line_head = b""  # of that with the text, up to it
        self._in_vain = 0
        self._at_once_bytes = max(AT_ONCE_BYTES)

    def learn(self, frame: bytes, text: str) -> bool:
        """Take in a whole frame whose string under the key is `text`; False where it is none to go by."""
        opening = self._opening.search(frame)
        if self._in_vain >= MOST_IN_VAIN or opening is None or frame.count(self._name) != 1:
            return False
        closing = _STRING_END.match(frame, opening.end())
        if closing is None or not frame.endswith(b"\n\n") or _texts([closing[0]]) != [text]:
            return False
        self._head, self._tail = frame[: opening.end()], frame[closing.end() :]
        self._lines = frame.count(b"\n")
        self._line_head = self._head.rpartition(b"\n")[2]
        self._in_vain += 1
        return True

    def alone(self, data: bytes) -> tuple[str, bytes] | None:
        """The text of the one frame that `data` is, and how it stands between the quotes; None where it is another.

        So frames come while a model makes token after token; then what is looked at counts, rather than how long.
        """
        head, tail = self._head, self._tail
        start, end = len(head), len(data) - len(tail)
        # Where the text is as long as the head, there may be two frames.
        if not 0 < start <= end < start + start or not (data.startswith(head) and data.endswith(tail)):
            return None
        inside = data[start:end]
        try:
            text: str = orjson.loads(b'"' + inside + b'"')
        except orjson.JSONDecodeError:
            return None
        self._in_vain = 0
        return text, inside

    def all_of(self, data: bytes) -> Run | None:
        """The frames that `data` is, where it is nothing else; None where it is anything else."""
        if not data.endswith(self._tail):
            return None
        run = self.read(data, 0)
        return run if run is not None and run.end == len(data) else None

    def read(self, data: bytes, at: int) -> Run | None:
        """The frames from `at` on, up to the first that is another, or not whole; None where that is the next one."""
        if not self._head or not data.startswith(self._head, at):
            return None
        lines = data[at : at + self._at_once_bytes].split(b"\n")  # by one byte: that is looked for by the machine
        whole = (len(lines) - 1) // self._lines * self._lines
        insides = self._insides(lines[:whole])
        # One comparison for all: what is shorter than head and tail makes this longer than the frames were.
        seam = self._tail + self._head
        if not data.startswith(b"".join((self._head, seam.join(insides), self._tail)), at):
            insides = self._insides_one_by_one(lines[:whole])
        texts = _sound(insides)
        few, many = AT_ONCE_BYTES
        self._at_once_bytes = few if len(texts) * self._lines < whole else many
        if not texts:
            return None
        self._in_vain = 0
        insides = insides[: len(texts)]
        around = len(seam)
        return Run(texts, insides, around, at + sum(map(len, insides)) + len(insides) * around)

    def _insides(self, lines: list[bytes]) -> list[bytes]:
        """What stands where the texts should, without the last frames that are others."""
        head, tail = self._line_head, self._tail[:-2]
        with_text = lines[self._lines - 2 :: self._lines]
        while with_text and not (with_text[-1].startswith(head) and with_text[-1].endswith(tail)):
            del with_text[-1]
        start, end = len(head), -len(tail)
        return [line[start:end] for line in with_text]

    def _insides_one_by_one(self, lines: list[bytes]) -> list[bytes]:
        """The texts up to the first frame that is another."""
        insides: list[bytes] = []
        for at in range(0, len(lines), self._lines):
            frame = b"\n".join(lines[at : at + self._lines]) + b"\n"
            end = len(frame) - len(self._tail)
            if end < len(self._head) or not (frame.startswith(self._head) and frame.endswith(self._tail)):
                break
            insides.append(frame[len(self._head) : end])
        return insides


def _sound(insides: list[bytes]) -> list[str]:
    """The strings, up to the first that is none."""
    texts = _texts(insides)
    if texts is None:
        each = (_texts([inside]) for inside in insides)
        texts = [one for found in takewhile(lambda found: found is not None, each) for one in found or ()]
    return texts


def _texts(insides: list[bytes]) -> list[str] | None:
    """The strings between whose quotes these stand; None where one of them is none."""
    together = b'","'.join(insides)
    if BACKSLASH in together and len(insides) > 1 and any(inside.endswith(b"\\") for inside in insides):
        return None  # it may hide the quote behind it
    try:
        texts: list[str] = orjson.loads(b'["' + together + b'"]') if insides else []
        "".join(texts)
    except (orjson.JSONDecodeError, TypeError):
        return None
    return texts if len(texts) == len(insides) else None
