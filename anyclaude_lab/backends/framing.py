"""Where an HTTP/1.1 body ends, and what of the bytes read is body. Source: RFC 9112, sections 6 and 7.

A reader takes the bytes as they come, however they were cut, and puts the pieces of body in them into a list.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

SIZE = re.compile(rb"[0-9a-fA-F]{1,15}[ \t]*(?:;[^\r\n]*)?")
PLAIN_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
PLAIN_LINE_BYTES = 18  # a size and nothing else
LONGEST_LINE_BYTES = 64 * 1024
MANY_BYTES = 2048  # from which on chunks are looked at together


class Unframed(ValueError):
    """The bytes do not keep to the framing that their head announced."""


@lru_cache(maxsize=1024)
def _plain_size(line: bytes) -> int:
    """The size that a line says and nothing else; 0 for every other line, and the last one. The same few come again."""
    return int(line, 16) if PLAIN_SIZE.fullmatch(line) else 0


def _take_many(data: bytes, pieces: list[bytes]) -> int:
    """Add all chunks but the last few, as one piece, where no line end stands in them; where the rest begins."""
    parts = data.split(b"\r\n")
    there = max(0, len(parts) - 3) // 2 * 2  # behind them: the last one, whole or not, and maybe that of size 0
    chunks = parts[1:there:2]
    if not chunks or b"" in chunks or list(map(_plain_size, parts[:there:2])) != list(map(len, chunks)):
        return 0
    pieces.append(b"".join(chunks))
    return len(data) - len(b"\r\n".join(parts[there:]))


class Body(Protocol):
    """A body being read. `ended` once it is whole."""

    ended: bool

    def feed(self, data: bytes, pieces: list[bytes]) -> None:
        """Add what is body in the next bytes. Raises `Unframed`, after what stood before the fault was added."""
        ...


class Sized:
    """A body of known length, 0 included."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes
        self.ended = not size_bytes

    def feed(self, data: bytes, pieces: list[bytes]) -> None:
        piece = data if len(data) <= self._left else data[: self._left]
        self._left -= len(piece)
        self.ended = not self._left
        if piece:
            pieces.append(piece)


class UntilClosed:
    """A body that ends with the connection."""

    ended = False

    def feed(self, data: bytes, pieces: list[bytes]) -> None:
        if data:  # the head may come alone, and an empty piece would read as the end
            pieces.append(data)


class Chunked:
    """A body in chunks, each behind a line with its size; trailers are read and dropped."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""  # of a line that is not whole
        self._left = 0  # bytes of the chunk that are still to come
        self._behind_chunk = False  # its line end comes next
        self._trailers = False
        self._trailer_bytes = 0

    def feed(self, data: bytes, pieces: list[bytes]) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size = 0, len(data)
        between = not (self._left or self._behind_chunk or self._trailers)
        if between and not self.ended:
            end = data.find(b"\r\n", 0, PLAIN_LINE_BYTES)
            length = _plain_size(data[:end]) if end > 0 else 0
            if length and end + 4 + length == size and data.endswith(b"\r\n"):
                pieces.append(data[end + 2 : -2])  # one whole chunk, as it comes where tokens are being made
                return
            at = _take_many(data, pieces) if size > MANY_BYTES else 0
        while at < size and not self.ended:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._behind_chunk, between = not self._left, False
                continue
            end = data.find(b"\r\n", at)
            line = data[at:end]
            if between and at < end < at + PLAIN_LINE_BYTES and (length := _plain_size(line)):
                stop = end + 2 + length
                if data[stop : stop + 2] == b"\r\n":  # a whole chunk
                    pieces.append(data[end + 2 : stop])
                    at = stop + 2
                    continue
            if end < 0:
                self._keep(data[at:])
                break
            self._line(line)
            at = end + 2
            between = not (self._behind_chunk or self._trailers)

    def _line(self, line: bytes) -> None:
        if self._behind_chunk:
            if line:
                raise Unframed(f"a chunk is longer than it says: {line[:40]!r} follows it")
            self._behind_chunk = False
        elif self._trailers:
            self.ended = not line
            self._trailer_bytes += len(line)
            if self._trailer_bytes > LONGEST_LINE_BYTES:
                raise Unframed(f"more than {LONGEST_LINE_BYTES} bytes of trailers follow it")
        elif SIZE.fullmatch(line):
            self._left = int(line.partition(b";")[0], 16)
            self._trailers = not self._left
        else:
            raise Unframed(f"{line[:40]!r} is no size of a chunk")

    def _keep(self, rest: bytes) -> None:
        if len(rest) > (1 if self._behind_chunk else LONGEST_LINE_BYTES):
            raise Unframed(f"{rest[:40]!r} stands where a line of the chunked encoding should end")
        self._rest = rest
