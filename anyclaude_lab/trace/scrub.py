"""Traces made fit to be shared: redacted again, or reduced to their shape.

`secrets` runs today's rules over a trace, with a new key. `shape` replaces every text, block by block of 64 characters,
by letters that are a keyed hash of it: lengths, structure and common beginnings stay, so that cache questions have the
same answers, and nothing can be read. Such a trace is of no use for fidelity.
"""

from __future__ import annotations

import hmac
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.trace.files import Source
from anyclaude_lab.trace.read import Recorded, Trace
from anyclaude_lab.trace.record import Encoder, Entry, Recording
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.wire.events import JsonObject

MODES = ("secrets", "shape")
BLOCK_CHARACTERS = 64
# Values under these names are words of the protocol, names of tools, or ids that the client made up.
_KEPT = {
    "type", "role", "name", "model", "id", "tool_use_id", "tool_name", "stop_reason", "media_type", "ttl",
    "required", "enum", "format", "service_tier", "display", "effort",
}  # fmt: skip
_DATA = re.compile(r"^(data:[ ]?)(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Shape:
    """Texts to letters, under one key."""

    key: bytes

    def text(self, text: str) -> str:
        """Letters in the place of `text`; a common beginning of two texts stays one, by whole blocks."""
        return "".join(self._block(text[at : at + BLOCK_CHARACTERS]) for at in range(0, len(text), BLOCK_CHARACTERS))

    def value(self, value: Any, name: str = "") -> Any:
        """A JSON value with its texts replaced; its keys and structure stay."""
        if isinstance(value, dict):
            return {key: self.value(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, name) for inner in value]
        return self.text(value) if isinstance(value, str) and name not in _KEPT else value

    def json(self, text: str) -> str:
        """JSON text; anything else as a whole."""
        try:
            return orjson.dumps(self.value(orjson.loads(text))).decode()
        except orjson.JSONDecodeError:
            return self.text(text)

    def stream(self, text: str, called: set[int]) -> str:
        """Whole events, so that their number stays; or a JSON body. `called`: the calls whose arguments have begun."""
        if "data:" not in text:
            return self.json(text)
        return _DATA.sub(lambda match: match[1] + self._event(match[2], called), text)

    def _event(self, data: str, called: set[int]) -> str:
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            return data
        delta = event.get("delta") if isinstance(event, dict) else None
        arguments = delta.get("partial_json") if isinstance(delta, dict) else None
        event = self.value(event)
        if arguments:  # blanks are JSON wherever they are cut
            event["delta"]["partial_json"] = ("" if event["index"] in called else "{}").ljust(len(arguments))
            called.add(event["index"])
        return orjson.dumps(event).decode()

    def _block(self, block: str) -> str:
        letters, counter = "", 0
        while len(letters) < len(block):
            digest = hmac.digest(self.key, f"{counter} {block}".encode("utf-8", "surrogatepass"), "sha256")
            letters += "".join(chr(ord("a") + byte % 26) for byte in digest)
            counter += 1
        return letters[: len(block)]


def scrubbed(trace: Trace, mode: str, redaction: Redaction | None = None) -> bytes:
    """The trace as a new file's bytes."""
    encoder = Encoder(
        redaction or Redaction(os.urandom(16)), source=str(trace.origin.get("source", "proxy")), mode=mode
    )
    shape = Shape(os.urandom(16)) if mode == "shape" else None
    held: set[str] = set()
    data = [encoder.start()]
    for exchange in trace.exchanges:
        lines, fresh = encoder.lines(_entry(exchange, shape), held)
        held.update(fresh)
        data.append(lines)
    return b"".join(data)


def target(source: Source, out: Path) -> Path:
    """Where the scrubbed copy of a trace belongs; packed ones are unpacked."""
    return out / f"{source.stem}.jsonl"


def _entry(exchange: Recorded, shape: Shape | None) -> Entry:
    data = exchange.data
    own = ("kind", "session", "at", "started_s", "request", "response")
    facts: JsonObject = {name: value for name, value in data.items() if name not in own}
    if shape and facts.get("error"):
        facts["error"] = shape.text(facts["error"])
    recording = Recording(data["started_s"], _pieces(exchange, shape))
    return Entry(
        session=exchange.session,
        facts=facts,
        status=data["response"]["status"],
        body=(shape.json(exchange.body) if shape else exchange.body).encode(),
        recording=recording,
        request_headers=_pairs(data["request"].get("headers")),
        response_headers=[p for p in _pairs(data["response"].get("headers")) if p[0] != "content-encoding"],
        at=_seconds(data["at"]),
        exact=shape is None and bool(data["request"]["exact"]),
    )


def _pieces(exchange: Recorded, shape: Shape | None) -> list[tuple[float | None, bytes]]:
    pieces = exchange.pieces
    if shape is None:
        return [(offset_s, text.encode()) for offset_s, text in pieces]
    events: list[tuple[float | None, str]] = []  # cut between events, so that each is replaced as a whole
    rest = ""
    for offset_s, text in pieces:
        whole, mark, rest = (rest + text).rpartition("\n\n")
        events.append((offset_s, whole + mark))
    if events:
        events[-1] = (events[-1][0], events[-1][1] + rest)
    called: set[int] = set()
    return [(offset_s, shape.stream(text, called).encode()) for offset_s, text in events if text]


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in headers or []]


def _seconds(at: str) -> float:
    try:
        return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return time.time()


Scrubber = Callable[[Trace, str], bytes]
