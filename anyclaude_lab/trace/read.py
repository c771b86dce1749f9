"""Reads trace files, which may come from anybody: JSON only, sizes capped, every line checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.trace.files import MAX_LINE_BYTES, DamagedTrace, Source, numbered_lines
from anyclaude_lab.trace.record import FORMAT, VERSION
from anyclaude_lab.trace.segments import HERE, blob_id, head, joined
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, parse_request

__all__ = ["DamagedTrace", "Recorded", "Trace", "read_trace"]


@dataclass(slots=True)
class Recorded:
    """One exchange of a trace: its line (`data`) and the blobs that the line names. `writer`: whose, see `origins`."""

    data: JsonObject
    line: int
    blobs: Mapping[str, str] = field(repr=False)
    writer: int = 0

    @property
    def session(self) -> str:
        return str(self.data["session"])

    @property
    def lane(self) -> str:
        """`session/agent`: the conversation whose requests grow by appending."""
        return str(self.data.get("lane") or self.session)

    @property
    def segments(self) -> list[str]:
        found: list[str] = self.data["request"]["segments"]
        return found

    @property
    def body(self) -> str:
        """The request's body. Raises KeyError with the id of a blob that is missing."""
        return joined(self.segments, self.blobs)

    @property
    def head(self) -> JsonObject:
        """The body without system, tools and messages; `{}` where it is no JSON object."""
        try:
            found = orjson.loads(head(self.segments))
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    def request(self) -> Request:
        """The request, checked. Raises InvalidRequest."""
        return parse_request(self.body.encode(), counting=True)

    @property
    def pieces(self) -> list[tuple[float | None, str]]:
        """(seconds since the request came, text) of the answer, as the client got them; None where nobody knows."""
        return [(offset_s, text) for offset_s, text in self.data["response"]["pieces"]]

    @property
    def answer(self) -> str:
        """The answer's body."""
        return "".join(text for _, text in self.data["response"]["pieces"])

    def damage(self) -> str | None:
        """What is wrong with it; None where body and answer fit their hashes."""
        try:
            request, response = self.data["request"], self.data["response"]
            if not _verified(self.body, request):
                return "the request's body does not fit its hash"
            if "unread" not in response and not _verified(self.answer, response):
                return "the answer does not fit its hash"
        except KeyError as missing:
            name = str(missing.args[0])
            return "a field is missing" if name in _FIELDS else f"the blob {name} is missing"
        except (TypeError, ValueError, AttributeError):
            return "a field has the wrong type"
        return None


@dataclass(slots=True)
class Trace:
    """What one file holds: the exchanges in the order they ended, and a sentence for each line that was left out."""

    name: str
    exchanges: list[Recorded] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    origins: list[JsonObject] = field(default_factory=list)  # a `trace` line for each writer
    blobs: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> JsonObject:
        """What the last writer said of itself."""
        return self.origins[-1] if self.origins else {}

    def in_order(self) -> list[Recorded]:
        """The exchanges in the order they were asked; a file holds them as they ended."""
        return sorted(self.exchanges, key=lambda exchange: (exchange.writer, exchange.data["started_s"]))

    def complain(self, line: int, found: str) -> None:
        self.complaints.append(f"{self.name}, line {line}: {found}; the line is left out.")


_FIELDS = {"request", "response", "segments", "pieces", "session", "exact", "sha256", "stored_sha256", "status"}


def read_trace(source: Source | Path, *, verify: bool = True) -> Trace:
    """The trace in a file. `verify`: an exchange that does not fit its hashes is left out as well.

    Raises DamagedTrace where there is nothing to read.
    """
    source = Source(source) if isinstance(source, Path) else source
    trace = Trace(source.name)
    for number, raw in numbered_lines(source):
        if (found := _take(trace, number, raw)) is not None:
            trace.complain(number, found)
    if verify:
        kept = []
        for each in trace.exchanges:
            if (found := each.damage()) is None:
                kept.append(each)
            else:
                trace.complain(each.line, found)
        trace.exchanges = kept
    if not trace.exchanges:
        found = trace.complaints[0] if trace.complaints else "it is empty."
        raise DamagedTrace(f"{source.name} holds no exchange: {found}")
    return trace


def _take(trace: Trace, number: int, raw: bytes) -> str | None:
    """Take in one line; what is wrong with it."""
    if len(raw) > MAX_LINE_BYTES:
        return f"it is longer than {MAX_LINE_BYTES} bytes, and what follows is not read"
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "it is torn" if not raw.endswith(b"\n") else "it is not JSON"
    if not isinstance(found, dict):
        return f"it is no line of an {FORMAT}"
    version = found.get("version") if found.get("format") == FORMAT else trace.origin.get("version")
    reader = READERS.get(version) if isinstance(version, int) else None
    if reader is None:
        return (
            f"it is no line of an {FORMAT}"
            if version is None
            else f"it has version {version!r}, and this program reads versions {', '.join(map(str, READERS))}"
        )
    try:
        return reader(trace, number, found)
    except (KeyError, TypeError, ValueError, AttributeError):
        return "a field is missing or has the wrong type"


def _take_2(trace: Trace, number: int, found: JsonObject) -> str | None:
    kind = found.get("kind")
    if kind == "trace":
        trace.origins.append(found)
    elif kind == "blob":
        name, text = found["id"], found["text"]
        if blob_id(text) != name:
            return f"the blob {name} does not fit its hash"
        trace.blobs[name] = text
    elif kind == "exchange":
        _check(found)
        trace.exchanges.append(Recorded(found, number, trace.blobs, max(0, len(trace.origins) - 1)))
    return None


def _take_1(trace: Trace, number: int, found: JsonObject) -> str | None:
    """Version 1: one line for each exchange, the body as text."""
    request = found["request"]
    hashes = {"exact": request["body_exact"], "sha256": request["body_sha256"]}
    upgraded = {"headers": request.get("headers", []), "segments": [HERE + request["body"]], **hashes}
    upgraded["stored_sha256"] = request["stored_sha256"]
    return _take_2(trace, number, found | {"kind": "exchange", "request": upgraded})


READERS: dict[int, Callable[[Trace, int, JsonObject], str | None]] = {1: _take_1, VERSION: _take_2}


_TEXTS = ("lane", "agent", "request_class", "request_id", "model", "backend", "ending", "stop_reason", "error")


def _check(found: JsonObject) -> None:
    """What everyone reads of an exchange without asking. Raises KeyError, TypeError, ValueError."""
    request, response = found["request"], found["response"]
    _typed(found["session"], str)
    _typed(found["started_s"], int, float)
    datetime.fromisoformat(found["at"].replace("Z", "+00:00"))
    _typed(response["status"], int, type(None))
    for name in _TEXTS:
        _typed(found.get(name), str, type(None))
    for count in (found.get("usage") or {}).values():
        _typed(count, int, type(None))
    for side in (request, response):
        _typed(side["exact"], bool)
        for name, value in side.get("headers") or ():
            _typed(name, str)
            _typed(value, str)
    _typed(request["segments"], list)
    if not all(request["segments"]) or {*map(type, request["segments"])} - {str}:
        raise ValueError("a segment is no text")
    for offset_s, text in response["pieces"]:
        _typed(offset_s, int, float, type(None))
        _typed(text, str)


def _typed(value: Any, *kinds: type) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"{type(value).__name__} where {kinds[0].__name__} belongs")


def _verified(text: str, hashes: JsonObject) -> bool:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return bool(digest == hashes["stored_sha256"] and (not hashes["exact"] or digest == hashes["sha256"]))
