"""Traces of anyclaude: one JSON file for each request, in a folder for each mode.

`{timestamp, mode, request: {method, url, headers, body}, response: {statusCode, headers, body}}`; the file without a
response is followed by one with it. Source: akaszubski/anyclaude-local, src/trace-logger.ts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anyclaude_lab.trace.imports.exchange import (
    WRONG_SHAPE,
    Complain,
    exchange,
    pairs,
    read_json,
    reason,
    seconds,
    spelled,
)
from anyclaude_lab.trace.record import Entry


def read(file: Path, complain: Complain) -> Iterator[Entry]:
    """The exchange of one file."""
    found = read_json(file, complain)
    if found is None:
        return
    try:
        request, response = found["request"], found.get("response") or {}
        if not response:
            complain(f"{file}, line 1: it holds no response; it is left out.")
            return
        yield exchange(
            spelled(request["body"]),
            spelled(response.get("body")),
            kind="seed",
            at=seconds(found["timestamp"]),
            status=int(response["statusCode"]),
            request_headers=pairs(request.get("headers")),
            response_headers=pairs(response.get("headers")),
        )
    except WRONG_SHAPE as error:
        complain(f"{file}, line 1: it is no trace of anyclaude ({reason(error)}); it is left out.")
