"""Logs of claude-trace: JSON lines, each a request and its response.

`{request: {timestamp, method, url, headers, body}, response: {timestamp, status_code, headers, body | body_raw},
logged_at}`, times in seconds since 1970. Source: badlogic/lemmy, apps/claude-trace/src/types.ts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from anyclaude_lab.trace.files import DamagedTrace, Source, numbered_lines
from anyclaude_lab.trace.imports.exchange import (
    WRONG_SHAPE,
    Complain,
    exchange,
    is_messages,
    pairs,
    reason,
    seconds,
    spelled,
)
from anyclaude_lab.trace.record import Entry
from anyclaude_lab.wire.events import JsonObject


def read(file: Path, complain: Complain) -> Iterator[Entry]:
    """The exchanges of a log; requests that were never answered are told and left out."""
    try:
        for number, raw in numbered_lines(Source(file)):
            try:
                pair = orjson.loads(raw)
                if number == 1 and isinstance(pair, dict) and pair.get("kind") == "trace":
                    complain(f"{file}: it is a trace already; nothing has to be imported.")
                    return
                if not is_messages(pair["request"]["url"]):
                    continue
                if not pair.get("response"):
                    complain(f"{file}, line {number}: it holds no response; it is left out.")
                    continue
                yield _exchange(pair)
            except orjson.JSONDecodeError:
                complain(f"{file}, line {number}: it is not JSON; it is left out.")
            except WRONG_SHAPE as error:
                complain(f"{file}, line {number}: it is no pair of claude-trace ({reason(error)}); it is left out.")
    except DamagedTrace as damage:
        complain(damage.message)


def _exchange(pair: JsonObject) -> Entry:
    request, response = pair["request"], pair["response"]
    at = seconds(request["timestamp"])
    raw = response.get("body_raw")
    return exchange(
        spelled(request["body"]),
        spelled(response.get("body") if raw is None else raw),
        kind="claude-trace",
        at=at,
        status=int(response["status_code"]),
        request_headers=pairs(request.get("headers")),
        response_headers=pairs(response.get("headers")),
    )
