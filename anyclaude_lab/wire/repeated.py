"""Frames that say what an earlier one said, with another text: nearly every frame of a reply.

Such a frame is known by its bytes before and behind the text, so that only the text has to be read; those of one read
are read together. What differs in anything else is left to the parsers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
        self._in_vain = 0
        self._at_once_bytes = max(AT_ONCE_BYTES)

    def learn(self, frame: bytes, text: str) -> bool:
        """Take in a whole frame whose string under the key is `text`; False where it is none to go by."""
        opening = self._opening.search(frame)
        if self._in_vain >= MOST_IN_VAIN or opening is None or frame.count(self._name) != 1:
            return False
        closing = _STRING_END.match(frame, opening.end())
        of_one_line = frame.endswith(b"\n\n") and frame.count(b"\n") == 2
        if closing is None or not of_one_line or _texts([closing[0]]) != [text]:
            return False
        self._head, self._tail = frame[: opening.end()], frame[closing.end() :]
        self._in_vain += 1
        return True

    def whole(self, data: bytes) -> Run | None:
        """The frames that `data` is, where it is nothing else; None where it is anything else."""
        head, tail = self._head, self._tail
        start, end = len(head), len(data) - len(tail)
        if not 0 < start <= end or not (data.startswith(head) and data.endswith(tail)):
            return None
        if end - start < start:  # too short for two: so frames come while a model makes token after token
            inside = data[start:end]
            try:
                text: str = orjson.loads(b'"' + inside + b'"')
            except orjson.JSONDecodeError:
                return None
            self._in_vain = 0
            return Run([text], [inside], start + len(tail), len(data))
        run = self.read(data, 0)
        return run if run is not None and run.end == len(data) else None

    def read(self, data: bytes, at: int) -> Run | None:
        """The frames from `at` on, up to the first that is another, or not whole; None where that is the next one."""
        head, tail = self._head, self._tail[:-2]
        if not head or not data.startswith(head, at):
            return None
        lines = data[at : at + self._at_once_bytes].split(b"\n")  # of two bytes, it would be looked for by hand
        frames = lines[: (len(lines) - 1) // 2 * 2 : 2]  # every other line is blank, and the last one not whole
        found = len(frames)
        while frames and not self._like(frames[-1]):
            del frames[-1]
        before, behind = len(head), len(tail)
        insides = [frame[before:-behind] for frame in frames]
        # One comparison for all: what is shorter than head and tail makes this longer than the frames were.
        if not data.startswith(b"".join((head, (self._tail + head).join(insides), self._tail)), at):
            insides = [frame[before:-behind] for frame in takewhile(self._like, _blank_between(lines))]
        texts = _sound(insides)
        few, many = AT_ONCE_BYTES
        self._at_once_bytes = few if len(texts) < found else many
        if not texts:
            return None
        self._in_vain = 0
        insides = insides[: len(texts)]
        around = before + behind + 2
        return Run(texts, insides, around, at + sum(map(len, insides)) + len(insides) * around)

    def _like(self, frame: bytes) -> bool:
        """Whether a frame without its blank line is the one that was learned, with another text."""
        head, tail = self._head, self._tail[:-2]
        return len(frame) >= len(head) + len(tail) and frame.startswith(head) and frame.endswith(tail)


def _blank_between(lines: list[bytes]) -> Iterator[bytes]:
    """Every other line, up to the first that no blank one follows."""
    for line, blank in zip(lines[::2], lines[1:-1:2], strict=False):
        if blank:
            return
        yield line


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
