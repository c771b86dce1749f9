"""OTLP-JSON with the GenAI attributes of OpenTelemetry (semantic conventions 1.37, in development); no content.

`gen_ai.usage.input_tokens` is the whole prompt, cached tokens included, as the conventions' page on Anthropic asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from anyclaude_lab import __version__
from anyclaude_lab.trace.exports.times import duration_s, started
from anyclaude_lab.trace.read import Recorded, Trace
from anyclaude_lab.wire.events import JsonObject

CONVENTIONS = "https://opentelemetry.io/schemas/1.37.0"
CLIENT, ERROR = 3, 2  # numbers of the protocol


def export(traces: Sequence[Trace]) -> bytes:
    """A span for each exchange; a session is one trace."""
    spans = [_span(trace, exchange) for trace in traces for exchange in trace.exchanges]
    scope = {"name": "anyclaude-lab", "version": __version__}
    resource = {"attributes": _attributes({"service.name": "anyclaude-lab"})}
    scopes = [{"scope": scope, "spans": spans, "schemaUrl": CONVENTIONS}]
    return orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}, option=orjson.OPT_INDENT_2)


def _span(trace: Trace, exchange: Recorded) -> JsonObject:
    data = exchange.data
    began, usage, status = started(trace, exchange), data.get("usage") or {}, data["response"]["status"]
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": data.get("model"),
        "gen_ai.request.max_tokens": exchange.head.get("max_tokens"),
        "gen_ai.conversation.id": exchange.session,
        "gen_ai.response.finish_reasons": [data["stop_reason"]] if data.get("stop_reason") else None,
        "gen_ai.usage.input_tokens": usage.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": usage.get("cached_tokens"),
        "http.response.status_code": status,
        "error.type": str(status) if status is not None and status >= 400 else None,
        "anyclaude.lane": exchange.lane,
    }
    return {
        "traceId": _digest(exchange.session, 32),
        "spanId": _digest(f"{exchange.lane} {data.get('request_id')} {exchange.line}", 16),
        "name": f"chat {data.get('model') or ''}".strip(),
        "kind": CLIENT,
        "startTimeUnixNano": str(int(began * 1e9)),
        "endTimeUnixNano": str(int((began + (duration_s(exchange) or 0.0)) * 1e9)),
        "attributes": _attributes(told),
        "status": {"code": ERROR} if told["error.type"] else {},
    }


def _attributes(told: JsonObject) -> list[JsonObject]:
    return [{"key": key, "value": _value(value)} for key, value in told.items() if value is not None]


def _value(value: Any) -> JsonObject:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
