"""One exchange as a line of a trace."""

from __future__ import annotations

import codecs
import hashlib
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.wire.events import JsonObject

FORMAT, VERSION = "anyclaude-trace", 1
MAX_RESPONSE_BYTES = 32 * 1024 * 1024  # what is kept of one answer
HEADERS = {
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "content-encoding",
    "content-type",
    "request-id",
    "retry-after",
    "user-agent",
    "x-app",
    "x-client-request-id",
    "x-should-retry",
}
HEADER_FAMILIES = ("x-claude-code-", "x-stainless-", "anthropic-ratelimit-")
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # how zlib is told which wrapper to expect

Pairs = Sequence[tuple[str, str]]
Pieces = list[tuple[float, bytes]]


class Recording:
    """The copy of what one client got, taken while it is sent. Times are monotonic seconds."""

    __slots__ = ("complete", "pieces", "size_bytes", "started")

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.pieces: Pieces = []
        self.size_bytes = 0
        self.complete = True  # False: there was more than we keep

    def wrote(self, data: bytes) -> None:
        """These bytes went to the client just now."""
        self.size_bytes += len(data)
        if self.size_bytes > MAX_RESPONSE_BYTES:
            self.complete = False
        else:
            self.pieces.append((round(time.monotonic() - self.started, 6), data))


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished exchange on its way to the disk. `facts` are fields of the line that need no work."""

    session: str
    facts: JsonObject
    status: int
    body: bytes
    recording: Recording
    request_headers: Pairs = ()
    response_headers: Pairs = ()
    at: float = field(default_factory=time.time)

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory."""
        return len(self.body) + self.recording.size_bytes + 1000


def line(entry: Entry, redaction: Redaction, *, epoch: float = 0.0) -> bytes:
    """The line of the trace, without anything secret. `epoch` is the monotonic time that `started_s` counts from."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.at))
    envelope = {
        "format": FORMAT,
        "version": VERSION,
        "session": entry.session,
        "at": at,
        "started_s": round(entry.recording.started - epoch, 6),
        "request": {"headers": _allowed(entry.request_headers)},
        "response": {"status": entry.status, "headers": _allowed(entry.response_headers)},
        **entry.facts,
    }
    clean: JsonObject = orjson.loads(redaction.text(orjson.dumps(envelope).decode()))
    clean["request"] |= _request(entry.body, redaction)
    clean["response"] |= _response(entry, redaction)
    return orjson.dumps(clean) + b"\n"


def _request(body: bytes, redaction: Redaction) -> JsonObject:
    text = redaction.text(body.decode("utf-8", "replace"))
    digest, stored = _sha256(body), _sha256(text.encode())
    return {"body": text, "body_exact": digest == stored, "body_sha256": digest, "stored_sha256": stored}


def _response(entry: Entry, redaction: Redaction) -> JsonObject:
    encoding = next((v.strip().lower() for n, v in entry.response_headers if n.lower() == "content-encoding"), "")
    recording = entry.recording
    plain, whole = recording.pieces, recording.complete
    if encoding in WINDOW_BITS:
        plain, readable = _inflated(plain, WINDOW_BITS[encoding])
        whole = whole and readable
    elif encoding not in ("", "identity"):
        return {"pieces": [], "exact": False, "unread": f"compressed as {encoding}"}
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    texts = [decode(data) for _, data in plain]
    tail = decode(b"", final=True)
    if tail:
        texts[-1] += tail
    text = redaction.stream("".join(texts))
    pieces, start = [], 0
    for (offset_s, _), piece in zip(plain, texts, strict=True):
        pieces.append([offset_s, text[start : start + len(piece)]])
        start += len(piece)
    digest = hashlib.sha256(b"".join(data for _, data in plain)).hexdigest()
    stored = _sha256(text.encode())
    return {"pieces": pieces, "exact": whole and digest == stored, "sha256": digest, "stored_sha256": stored}


def _inflated(pieces: Pieces, window_bits: int) -> tuple[Pieces, bool]:
    """The pieces as they were before compression, and whether that is all of them: not a bomb, nothing broken."""
    inflate = zlib.decompressobj(window_bits)
    plain: Pieces = []
    left = MAX_RESPONSE_BYTES
    for offset_s, data in pieces:
        try:
            plain.append((offset_s, inflate.decompress(data, left)))
        except zlib.error:
            return plain, False
        left -= len(plain[-1][1])
        if left <= 0:
            return plain, False
    return plain, True


def _allowed(headers: Pairs) -> list[list[str]]:
    named = [(name.lower(), value) for name, value in headers]
    return [[name, value] for name, value in named if name in HEADERS or name.startswith(HEADER_FAMILIES)]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
