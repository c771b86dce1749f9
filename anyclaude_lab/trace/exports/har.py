"""HTTP archives (HAR 1.2); what HAR has no field for stands in fields with an underscore, as it asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from anyclaude_lab import __version__
from anyclaude_lab.trace.exports.times import duration_s, started
from anyclaude_lab.trace.read import Recorded, Trace
from anyclaude_lab.wire.events import JsonObject


def export(traces: Sequence[Trace]) -> bytes:
    """All exchanges as one archive; `_pieces` keeps the arrival of each piece of an answer."""
    entries = [_entry(trace, exchange) for trace in traces for exchange in trace.exchanges]
    log = {"version": "1.2", "creator": {"name": "anyclaude-lab", "version": __version__}, "entries": entries}
    return orjson.dumps({"log": log}, option=orjson.OPT_INDENT_2)


def _entry(trace: Trace, exchange: Recorded) -> JsonObject:
    data, body, answer = exchange.data, exchange.body, exchange.answer
    total_s = duration_s(exchange)
    total_ms = -1 if total_s is None else round(total_s * 1000, 3)
    stream = answer.startswith(("event:", "data:", ":"))
    kind = "text/event-stream" if stream else "application/json"
    empty: JsonObject = {"httpVersion": "HTTP/1.1", "cookies": [], "headersSize": -1}
    return {
        "startedDateTime": datetime.fromtimestamp(started(trace, exchange), UTC).isoformat(),
        "time": total_ms,
        "request": empty
        | {
            "method": "POST",
            "url": "http://anyclaude.invalid/v1/messages",
            "headers": _headers(data["request"].get("headers")),
            "queryString": [],
            "bodySize": len(body.encode()),
            "postData": {"mimeType": "application/json", "text": body},
        },
        "response": empty
        | {
            "status": data["response"]["status"],
            "statusText": "",
            "headers": _headers(data["response"].get("headers")),
            "redirectURL": "",
            "bodySize": len(answer.encode()),
            "content": {"size": len(answer.encode()), "mimeType": kind, "text": answer},
            "_pieces": exchange.pieces,
        },
        "cache": {},
        "timings": {"send": 0, "wait": total_ms, "receive": 0},
        "_session": exchange.session,
        "_lane": exchange.lane,
    }


def _headers(found: Sequence[Sequence[str]] | None) -> list[JsonObject]:
    return [{"name": name, "value": value} for name, value in found or []]
