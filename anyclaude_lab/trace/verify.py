"""What a trace would give away: the recorder's own rules, and a few that only look."""

from __future__ import annotations

from anyclaude_lab.trace.read import Trace
from anyclaude_lab.trace.redaction import Redaction


def secrets_in(trace: Trace) -> list[str]:
    """A sentence for each place that today's rules would redact. The secret itself is not told."""
    rules = Redaction(b"looking only")
    found = []
    for name, text in trace.blobs.items():
        if rules.text(text) != text:
            found.append(f"{trace.name}: the blob {name} holds something that looks like a secret; use scrub.")
    for exchange in trace.exchanges:
        between = "".join(segment[1:] for segment in exchange.segments if segment.startswith("="))
        if rules.text(between) != between or rules.stream(exchange.answer) != exchange.answer:
            found.append(f"{trace.name}, line {exchange.line}: it holds something that looks like a secret; use scrub.")
    return found
