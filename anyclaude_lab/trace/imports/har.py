"""HTTP archives (HAR 1.2), as browsers and mitmproxy write them. Source: w3c.github.io/web-performance, HAR spec.

Our own export tells the arrival of every piece in `response._pieces`; others know only when the answer was whole.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from anyclaude_lab.trace.imports.exchange import (
    WRONG_SHAPE,
    Complain,
    exchange,
    is_messages,
    pairs,
    read_json,
    reason,
    seconds,
)
from anyclaude_lab.trace.record import Entry, Recording
from anyclaude_lab.wire.events import JsonObject


def read(file: Path, complain: Complain) -> Iterator[Entry]:
    """The exchanges with a Messages API in an archive; whatever else it holds is passed over."""
    archive = read_json(file, complain)
    if archive is None:
        return
    entries = archive.get("log", {}).get("entries") if isinstance(archive, dict) else None
    if not isinstance(entries, list):
        complain(f"{file}, line 1: it is no HTTP archive (log.entries is missing); it is left out.")
        return
    found = 0
    for number, entry in enumerate(entries):
        try:
            if entry["request"]["method"] == "POST" and is_messages(entry["request"]["url"]):
                found += 1
                yield _exchange(entry)
        except WRONG_SHAPE as error:
            complain(f"{file}, log.entries[{number}]: {reason(error)}; it is left out.")
    if not found:
        complain(f"{file}: none of its {len(entries)} entries is a request to a Messages API.")


def _exchange(entry: JsonObject) -> Entry:
    request, response = entry["request"], entry["response"]
    content = response.get("content") or {}
    text = content.get("text") or ""
    answer = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    at = seconds(entry["startedDateTime"])
    total_ms = entry.get("time")
    made = exchange(
        request["postData"]["text"].encode(),
        answer,
        kind="har",
        at=at,
        status=int(response["status"]),
        request_headers=pairs(request.get("headers")),
        response_headers=pairs(response.get("headers")),
        answered_s=total_ms / 1000 if isinstance(total_ms, int | float) and total_ms >= 0 else None,
        exact=True,
    )
    pieces = [(float(offset_s), piece.encode()) for offset_s, piece in response.get("_pieces") or []]
    return replace(made, recording=Recording(at, list(pieces))) if pieces else made
