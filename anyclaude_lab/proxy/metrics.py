"""What the proxy counts, as Prometheus series and as JSON. The seed's names are kept; every series is fed."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from anyclaude_lab.wire.events import JsonObject, Usage

if TYPE_CHECKING:
    from anyclaude_lab.backends.breaker import Breaker

NAN = math.nan  # how a gauge says that nothing is known yet; null in JSON
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One registry per proxy, so that several can live in one process (tests, notebooks)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.started = time.time()
        self.requests = Counter("anyclaude_requests", "Requests answered", ["endpoint", "status"], registry=registry)
        self.duration_s = Histogram(
            "anyclaude_request_duration_seconds",
            "Request to last byte",
            ["endpoint"],
            buckets=SECONDS,
            registry=registry,
        )
        self.ttft_s = Histogram(
            "anyclaude_time_to_first_token_seconds",
            "Request to the first generated content of any kind",
            buckets=SECONDS,
            registry=registry,
        )
        self.active = Gauge(
            "anyclaude_active_requests",
            "Requests of clients being answered now, without pages like this one",
            registry=registry,
        )
        self.prompt_tokens = Counter("anyclaude_prompt_tokens", "Prompt tokens, as reported", registry=registry)
        self.cached_tokens = Counter(
            "anyclaude_cached_prompt_tokens",
            "Prompt tokens read from the backend's cache, as reported",
            registry=registry,
        )
        self.output_tokens = Counter("anyclaude_output_tokens", "Generated tokens, as reported", registry=registry)
        self.cache_hits = Counter(
            "anyclaude_cache_hits",
            "Replies whose backend reported prompt tokens read from its cache",
            registry=registry,
        )
        self.cache_misses = Counter(
            "anyclaude_cache_misses",
            "Replies whose backend reported that nothing came from its cache",
            registry=registry,
        )
        self.cache_hit_rate = Gauge(
            "anyclaude_cache_hit_rate",
            "Share of reported prompt tokens that came from the cache (0-1)",
            registry=registry,
        )
        self.saved_characters = Counter(
            "anyclaude_prompt_characters_removed",
            "Characters a transform took out of prompts",
            ["transform"],
            registry=registry,
        )
        self.grammar_violations = Counter(
            "anyclaude_sse_grammar_violations",
            "Events out of legal order, made (translated) or seen (relayed)",
            ["origin"],
            registry=registry,
        )
        self.endings = Counter("anyclaude_stream_endings", "How streams ended", ["ending"], registry=registry)
        self.pings = Counter("anyclaude_pings", "Keep-alive pings sent", registry=registry)
        self.retry_grace = Counter(
            "anyclaude_retry_grace",
            "Unfinished prefills of clients that left: held, joined by the retry, cancelled",
            ["outcome"],
            registry=registry,
        )
        self.joins = Counter(
            "anyclaude_joins",
            "Requests that joined the same one still running, whose client had left (waiting) or not (answering)",
            ["of"],
            registry=registry,
        )
        self.disconnects = Counter(
            "anyclaude_client_disconnects", "Clients that left before the end", registry=registry
        )
        self.web_searches = Counter(
            "anyclaude_web_searches", "Web searches answered, by outcome", ["outcome"], registry=registry
        )
        self.trace_dropped = Counter(
            "anyclaude_trace_dropped", "Exchanges that could not be recorded", registry=registry
        )
        self.breaker_state = Gauge(
            "anyclaude_circuit_breaker_state", "0 closed, 1 open, 2 half-open", registry=registry
        )
        self.breaker_failures = Gauge(
            "anyclaude_circuit_breaker_failures_total", "Requests the backend could not answer", registry=registry
        )
        self.breaker_successes = Gauge(
            "anyclaude_circuit_breaker_successes_total", "Requests the backend answered", registry=registry
        )
        self.breaker_latency_s = Gauge(
            "anyclaude_circuit_breaker_latency_seconds", "Mean time to response headers", registry=registry
        )
        self.cpu_s = Gauge("anyclaude_process_cpu_seconds_total", "CPU time of this process", registry=registry)
        self.memory_bytes = Gauge(
            "anyclaude_process_memory_bytes", "Resident memory of this process", registry=registry
        )
        for origin in ("translated", "relayed"):
            self.grammar_violations.labels(origin)  # a series that reads 0, not one that is missing
        for of in ("waiting", "answering"):
            self.joins.labels(of)
        for unknown in (self.cache_hit_rate, self.breaker_state, self.breaker_latency_s):
            unknown.set(NAN)
        self._prompt_seen = self._cached_seen = 0

    def usage(self, usage: Usage) -> None:
        """Feed one reply's reported token counts; what was not reported is not counted."""
        if usage.prompt_tokens is not None:
            self.prompt_tokens.inc(usage.prompt_tokens)
        if usage.output_tokens is not None:
            self.output_tokens.inc(usage.output_tokens)
        if usage.cached_tokens is None or not usage.prompt_tokens:
            return
        self.cached_tokens.inc(usage.cached_tokens)
        (self.cache_hits if usage.cached_tokens else self.cache_misses).inc()
        self._prompt_seen += usage.prompt_tokens
        self._cached_seen += usage.cached_tokens
        self.cache_hit_rate.set(self._cached_seen / self._prompt_seen)

    def refresh(self, breaker: Breaker | None) -> None:
        """Set the gauges that are read, not counted."""
        import psutil

        process = psutil.Process()
        with process.oneshot():
            times = process.cpu_times()
            self.cpu_s.set(times.user + times.system)
            self.memory_bytes.set(process.memory_info().rss)
        if breaker is not None:
            self.breaker_state.set(int(breaker.state))
            self.breaker_failures.set(breaker.failures_total)
            self.breaker_successes.set(breaker.successes_total)
            latencies_s = breaker.latencies_s(time.monotonic())
            self.breaker_latency_s.set(sum(latencies_s) / len(latencies_s) if latencies_s else NAN)

    def prometheus(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def json(self) -> JsonObject:
        """Every series by its Prometheus name: a number, or a list of `{labels, value}` where it has labels."""
        out: JsonObject = {"uptime_seconds": round(time.time() - self.started, 3)}
        for family in self.registry.collect():
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                value = None if math.isnan(sample.value) else sample.value
                if not sample.labels:
                    out[sample.name] = value
                else:
                    out.setdefault(sample.name, []).append({"labels": sample.labels, "value": value})
        return out
