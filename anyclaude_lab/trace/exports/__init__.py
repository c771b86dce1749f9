"""Traces in the formats of others. A new one is a module with `export(traces) -> bytes` and a row here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anyclaude_lab.trace.exports import har, mooncake, otel
from anyclaude_lab.trace.read import Trace

# format -> (suffix of the file, the function)
FORMATS: dict[str, tuple[str, Callable[[Sequence[Trace]], bytes]]] = {
    "har": (".har", har.export),
    "otel": (".otlp.json", otel.export),
    "mooncake": (".mooncake.jsonl", mooncake.export),
}
