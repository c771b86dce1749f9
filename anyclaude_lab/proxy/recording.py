"""What the proxy hands to the recorder about one exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyclaude_lab.exchange import Exchange
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.headers import ClientHints

if TYPE_CHECKING:
    from anyclaude_lab.trace.record import Entry, Recording

FACTS = ("model", "backend", "stop_reason", "ending", "error", "headers_s", "ttft_s", "total_s")


def trace_entry(exchange: Exchange, hints: ClientHints, facts: JsonObject, status: int, recording: Recording) -> Entry:
    """The finished exchange as the recorder takes it. `facts` are those of the log line."""
    from anyclaude_lab.trace.record import Entry

    call, reply, usage = exchange.call, exchange.reply, exchange.usage
    translating = exchange.variant.backend.translating
    return Entry(
        session=hints.session_id or call.lane.partition("/")[0],
        facts={
            "request_id": call.request_id,
            "lane": call.lane,
            "agent": hints.agent_id,
            "request_class": hints.request_class,
            "sent": _sent(exchange) if translating else None,
            **{name: facts[name] for name in FACTS},
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "cached_tokens": usage.cached_tokens,
                "output_tokens": usage.output_tokens,
            },
        },
        status=status,
        body=call.body or call.original.raw,
        recording=recording,
        request_headers=call.headers,
        response_headers=reply.headers if reply and not translating else (),
    )


def _sent(exchange: Exchange) -> JsonObject:
    steps = [
        {"name": step.name, "chars_before": step.before.total, "chars_after": step.after.total}
        for step in exchange.reports
    ]
    return {"steps": steps, "lane": exchange.lane.as_json(), "max_tokens": exchange.sent.max_tokens}
