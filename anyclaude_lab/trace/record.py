"""One exchange as lines of a trace."""

from __future__ import annotations

import codecs
import hashlib
import time
import zlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import orjson

from anyclaude_lab import __version__
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.segments import HERE, Part, blob_id, cut, joined, stored
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.headers import readable

FORMAT, VERSION = "anyclaude-trace", 2
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
REMEMBERED = 20_000  # blobs whose redaction is not done again
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # how zlib is told which wrapper to expect

Pairs = Sequence[tuple[str, str]]
Pieces = list[tuple[float | None, bytes]]  # seconds since the request came; None where nobody knows


class Recording:
    """The copy of what one client got, taken while it is sent. Times are monotonic seconds."""

    __slots__ = ("complete", "pieces", "size_bytes", "started")

    def __init__(self, started: float | None = None, pieces: Pieces | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        self.pieces: Pieces = pieces or []
        self.size_bytes = sum(len(data) for _, data in self.pieces)
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
    """A finished exchange on its way to the disk. `facts` are fields of the line that need no work.

    `exact`: whether `body` and the recording are the very bytes that travelled.
    """

    session: str
    facts: JsonObject
    status: int
    body: bytes
    recording: Recording
    request_headers: Pairs = ()
    response_headers: Pairs = ()
    at: float = field(default_factory=time.time)
    exact: bool = True

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory."""
        return len(self.body) + self.recording.size_bytes + 1000


class Encoder:
    """Turns exchanges into lines. `epoch` is the monotonic time that `started_s` counts from.

    What was redacted once is remembered by its hash, so that a long conversation costs only what was added to it.
    """

    def __init__(
        self, redaction: Redaction, *, epoch: float = 0.0, source: str = "proxy", mode: str = "secrets"
    ) -> None:
        self._redaction, self._epoch, self._source, self._mode = redaction, epoch, source, mode
        # hash of a text -> it redacted, None where nothing was in it, and its address then
        self._known: dict[bytes, tuple[str | None, str]] = {}

    def start(self) -> bytes:
        """The line with which this writer starts in a file."""
        told = {
            "kind": "trace",
            "format": FORMAT,
            "version": VERSION,
            "made_by": f"anyclaude-lab {__version__}",
            "source": self._source,
            "at": _utc(time.time()),
            "redaction": self._mode,
        }
        return orjson.dumps(told) + b"\n"

    def lines(self, entry: Entry, held: AbstractSet[str] = frozenset()) -> tuple[bytes, dict[str, str]]:
        """The lines of an exchange, without anything secret, and the blobs in them that are not in `held`."""
        envelope = {
            "kind": "exchange",
            "session": entry.session,
            "at": _utc(entry.at),
            "started_s": round(entry.recording.started - self._epoch, 6),
            "request": {"headers": _allowed(entry.request_headers)},
            "response": {"status": entry.status, "headers": _allowed(entry.response_headers)},
            **entry.facts,
        }
        fresh: dict[str, str] = {}
        clean: JsonObject = orjson.loads(self._redaction.text(orjson.dumps(envelope).decode()))
        clean["request"] |= self._request(entry, held, fresh)
        clean["response"] |= _response(entry, self._redaction)
        blobs = [orjson.dumps({"kind": "blob", "id": name, "text": text}) for name, text in fresh.items()]
        return b"\n".join([*blobs, orjson.dumps(clean), b""]), fresh

    def _request(self, entry: Entry, held: AbstractSet[str], fresh: dict[str, str]) -> JsonObject:
        texts: dict[str, str] = {}

        def keep(text: str) -> str:
            clean, name = self._clean(text)
            texts[name] = clean
            if name not in held:
                fresh[name] = clean
            return name

        parts = cut(entry.body.decode("utf-8", "replace"))
        parts = [Part(kind, self._redaction.text(text)) if kind == HERE else Part(kind, text) for kind, text in parts]
        segments = stored(parts, keep)
        return {"segments": segments, **_digests(entry.body, joined(segments, texts).encode(), exact=entry.exact)}

    def _clean(self, text: str) -> tuple[str, str]:
        """The text as it may be kept, and its address."""
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if key in self._known:
            clean, name = self._known.pop(key)  # put back as the most recent
        else:
            redacted = self._redaction.text(text)
            clean, name = None if redacted == text else redacted, blob_id(redacted)
        self._known[key] = clean, name
        if len(self._known) > REMEMBERED:
            self._known.pop(next(iter(self._known)))
        return text if clean is None else clean, name


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
    came = b"".join([data for _, data in plain])
    return {"pieces": pieces, **_digests(came, text.encode(), exact=entry.exact and whole)}


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
    named = [(name.lower(), readable(value)) for name, value in headers]
    return [[name, value] for name, value in named if name in HEADERS or name.startswith(HEADER_FAMILIES)]


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _digests(came: bytes, kept: bytes, *, exact: bool) -> JsonObject:
    """Of what came and of what is kept of it; `exact` where that is the same, and was said to be all."""
    digest = hashlib.sha256(came).hexdigest()
    stored = digest if kept == came else hashlib.sha256(kept).hexdigest()
    return {"exact": exact and digest == stored, "sha256": digest, "stored_sha256": stored}
