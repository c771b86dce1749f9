"""Reads a trace file, which may come from anybody: JSON only, sizes capped, every line checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import orjson

from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.trace.record import FORMAT, VERSION
from anyclaude_lab.wire.events import JsonObject

MAX_LINE_BYTES = 256 * 1024 * 1024


class DamagedTrace(AnyclaudeError):
    """A file that cannot be read as a trace at all."""


def read_trace(file: Path) -> tuple[list[JsonObject], list[str]]:
    """The exchanges of a trace in the order they ended, and a sentence for each line that was left out.

    Raises DamagedTrace where there is nothing to read.
    """
    exchanges, complaints = [], []
    try:
        for number, raw in _lines(file):
            found = _read(raw)
            if isinstance(found, str):
                complaints.append(f"{file}, line {number}: {found}; the line is left out.")
            else:
                exchanges.append(found)
    except OSError as error:
        raise DamagedTrace(f"{file} cannot be read: {error.strerror or error}.") from None
    if not exchanges:
        found = complaints[0] if complaints else "it is empty"
        raise DamagedTrace(f"{file} holds no exchange: {found}")
    return exchanges, complaints


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    with file.open("rb") as stream:
        for number, raw in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), 1):
            yield number, raw
            if len(raw) > MAX_LINE_BYTES:
                return  # where the next line starts is not worth reading on for


def _read(raw: bytes) -> JsonObject | str:
    """The exchange of one line, or what is wrong with it."""
    if len(raw) > MAX_LINE_BYTES:
        return f"it is longer than {MAX_LINE_BYTES} bytes, and what follows is not read"
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "it is torn" if not raw.endswith(b"\n") else "it is not JSON"
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return f"it is not an exchange of an {FORMAT}"
    if found.get("version") != VERSION:
        return f"it has version {found.get('version')!r}, and this program reads version {VERSION}"
    return _damage(found) or found


def _damage(found: JsonObject) -> str | None:
    try:
        request, response = found["request"], found["response"]
        body = request["body"].encode()
        answer = "".join(text for _, text in response["pieces"]).encode()
        if not _verified(body, request["stored_sha256"], request["body_exact"], request["body_sha256"]):
            return "the request's body does not fit its hash"
        if "unread" not in response and not _verified(
            answer, response["stored_sha256"], response["exact"], response["sha256"]
        ):
            return "the answer does not fit its hash"
    except (KeyError, TypeError, ValueError, AttributeError):
        return "a field is missing or has the wrong type"
    return None


def _verified(stored: bytes, stored_sha256: str, exact: bool, original_sha256: str) -> bool:
    digest = hashlib.sha256(stored).hexdigest()
    return digest == stored_sha256 and (not exact or digest == original_sha256)
