"""Frames that say what an earlier one said, with another text: nearly every frame of a reply.

Such a frame is known by its bytes before and behind the text, so that only the text has to be read. What differs in
anything else is left to the parsers.
"""

from __future__ import annotations

import re

import orjson

_STRING_END = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*')
MOST_IN_VAIN = 8  # frames learned and never met again: this server changes more than the text


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
        if closing is None or not frame.endswith(b"\n\n") or _text(closing[0]) != text:
            return False
        self._head, self._tail = frame[: opening.end()], frame[closing.end() :]
        self._in_vain += 1
        return True

    def skip(self, data: bytes, at: int) -> int:
        """Where the frames from `at` on end that differ from the last one in the text alone."""
        head, tail = self._head, self._tail
        while head and data.startswith(head, at):
            closing = _STRING_END.match(data, at + len(head))
            if closing is None or not data.startswith(tail, closing.end()):
                break
            at = closing.end() + len(tail)
            self._in_vain = 0
        return at

    def read(self, data: bytes, at: int) -> tuple[list[str], list[int]]:
        """The texts of the frames from `at` on, and where each ends, up to the first that is another, or not whole."""
        texts: list[str] = []
        ends: list[int] = []
        head, tail = self._head, self._tail
        before, behind = len(head), len(tail)
        while head and data.startswith(head, at):
            start = at + before
            end = data.find(tail, start)
            if end < 0 or (text := _text(data[start:end])) is None:
                break
            at = end + behind
            texts.append(text)
            ends.append(at)
        if texts:
            self._in_vain = 0
        return texts, ends


def _text(inside: bytes) -> str | None:
    """What stands between the quotes of a string; None where that is no string, or needs mending."""
    try:
        text: str = orjson.loads(b'"' + inside + b'"')
    except orjson.JSONDecodeError:
        return None
    return text
