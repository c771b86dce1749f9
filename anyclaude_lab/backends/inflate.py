"""An answer's body that came compressed, although nobody asked for it: some servers and the proxies before them do."""

from __future__ import annotations

import zlib

from anyclaude_lab.backends.base import Taker
from anyclaude_lab.backends.connection import NoHttp
from anyclaude_lab.backends.source import Source
from anyclaude_lab.errors import BackendFailed

WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # how zlib is told which wrapper to expect
PIECE_BYTES = 1024 * 1024  # at most, of whatever a few bytes unfold to


def inflated(source: Source, encoding: str, url: str) -> Source:
    """The body before it was compressed. Raises `BackendFailed`, the source let go, where we cannot."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return source
    if encoding not in WINDOW_BITS:
        source.abort()
        raise BackendFailed(
            f"{url} compresses its answers as {encoding[:40]!r}, which was not asked for; gzip and deflate can be read."
        )
    return _Inflated(source, WINDOW_BITS[encoding])


class _Inflated:
    def __init__(self, source: Source, window_bits: int) -> None:
        self._source, self._inflate = source, zlib.decompressobj(window_bits)

    async def read(self, patience_s: float) -> bytes:
        while True:
            data = self._inflate.unconsumed_tail or await self._source.read(patience_s)
            if not data and not self._inflate.eof:
                raise NoHttp("its compressed answer ends in the middle")
            if not data:
                return b""
            try:
                piece = b"" if self._inflate.eof else self._inflate.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise NoHttp(f"its answer is not compressed as its head says: {error}") from None
            if piece:
                return piece

    def hand_to(self, taker: Taker | None, patience_s: float) -> None:
        pass

    def abort(self) -> None:
        self._source.abort()
