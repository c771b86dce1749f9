"""Server-sent events: bytes to frames. (`Event.encode` is the other way.)

A frame is everything up to and including a blank line. The parser keeps each frame's bytes, so that the frames joined
are the input, and its result does not depend on how the bytes were cut. Work is linear in the input; memory is one
frame plus one read. Source: html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from anyclaude_lab.errors import BackendFailed

MAX_FRAME_BYTES = 64 * 1024 * 1024
_CR = ord("\r")
_BOM = b"\xef\xbb\xbf"

# A line end followed by a line end. A carriage return that is the last byte so far may still become CRLF, so it waits.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r(?=[^\n]))")
_LONGEST_UNFINISHED_BLANK_LINE = 3  # "\r\n\r"


class SseItem(NamedTuple):
    """One frame. `data` is the data lines joined by LF, None if there was none; `comment` likewise for `:` lines.

    `complete` is False for the last bytes of a body that ended before a blank line.
    """

    event: str | None
    data: bytes | None
    comment: str | None
    raw: bytes
    complete: bool = True


class SseParser:
    """Incremental reader of one stream. Raises `BackendFailed` once a single frame has grown past `max_frame_bytes`."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()  # begins with the frame that is still open
        self._searched = 0  # no blank line ends before here
        self._saw_cr = False
        self._at_start = True

    def between_frames(self) -> bool:
        """Whether nothing is kept of a frame that has begun."""
        return not self._buffer

    def feed(self, data: bytes) -> list[SseItem]:
        """The frames that `data` completes."""
        if len(self._buffer) > self._max_frame_bytes:
            raise BackendFailed(
                f"The backend sent one stream event of more than {self._max_frame_bytes} bytes without a blank line; "
                "this is not a stream of server-sent events."
            )
        if not self._saw_cr and _CR in data:
            self._saw_cr = True
        if not (self._saw_cr or self._buffer) and data.find(b"\n\n") == len(data) - 2 >= 0:
            return [self._item(data, complete=True)]  # one whole frame, as it is handed in again and again
        source: bytes | bytearray = data  # most reads bring whole frames: then nothing is copied
        if self._buffer:
            self._buffer += data
            source = self._buffer
        items = []
        start, search = 0, self._searched
        while end := self._frame_end(source, search):
            items.append(self._item(bytes(source[start:end]), complete=True))
            start = search = end
        if source is not data:
            del self._buffer[:start]
        elif start < len(data):
            self._buffer += data[start:]
        rest = len(self._buffer) - _LONGEST_UNFINISHED_BLANK_LINE
        self._searched = rest if rest > 0 else 0
        return items

    def close(self) -> list[SseItem]:
        """What is left when the body has ended: one incomplete frame, or nothing."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        if not rest:
            return []
        finished = _BLANK_LINE.search(rest + b" ") is not None  # a bare CR was waiting for its LF
        return [self._item(rest, complete=finished)]

    def _frame_end(self, source: bytes | bytearray, start: int) -> int:
        """Where the frame ends whose blank line is the first one behind `start`; 0 if there is none yet."""
        if self._saw_cr:
            match = _BLANK_LINE.search(source, start)
            return match.end() if match else 0
        found = source.find(b"\n\n", start)
        return found + 2 if found >= 0 else 0

    def _item(self, raw: bytes, *, complete: bool) -> SseItem:
        if complete and not self._saw_cr and (item := _usual(raw)) is not None:
            self._at_start = False
            return item
        text = raw
        if self._at_start:
            self._at_start = False
            text = raw.removeprefix(_BOM)
        event: str | None = None
        data: list[bytes] = []
        comments: list[bytes] = []
        for line in text.splitlines():
            field, colon, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                event = value.decode("utf-8", "replace")
            elif colon and not field:
                comments.append(value)
        return SseItem(
            event,
            b"\n".join(data) if data else None,
            b"\n".join(comments).decode("utf-8", "replace") if comments else None,
            raw,
            complete,
        )


def _usual(raw: bytes) -> SseItem | None:
    """A whole frame of one data line, with or without an event line before it: nearly every frame of a reply."""
    event, start = None, 0
    if raw.startswith(b"event: "):
        start = raw.find(b"\n") + 1
        event = raw[7 : start - 1].decode("utf-8", "replace")
    if raw.startswith(b"data: ", start) and raw.find(b"\n", start) == len(raw) - 2:
        return SseItem(event, raw[start + 6 : -2], None, raw)
    return None
