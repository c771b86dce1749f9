"""What the proxy counts, as Prometheus series and as JSON. The seed's names are kept; every series is fed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
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
        self.registry = CollectorRegistry()
        self.started = time.time()
        self._requests()
        self._prompts()
        self._streams()
        self._breaker()
        self._nodes()
        self.cpu_s = self._gauge("process_cpu_seconds_total", "CPU time of this process")
        self.memory_bytes = self._gauge("process_memory_bytes", "Resident memory of this process")
        for unknown in (self.cache_hit_rate, self.breaker_state, self.breaker_latency_s):
            unknown.set(NAN)

    def _requests(self) -> None:
        self.requests = self._counter("requests", "Requests answered", "endpoint", "status")
        self.active = self._gauge("active_requests", "Requests of clients being answered now, without pages like this")
        self.duration_s = self._histogram("request_duration_seconds", "Request to last byte", "endpoint")
        self.ttft_s = self._histogram(
            "time_to_first_token_seconds", "Request to the first generated content of any kind"
        )
        self.disconnects = self._counter("client_disconnects", "Clients that left before the end")
        self.web_searches = self._counter("web_searches", "Web searches answered, by outcome", "outcome")
        self.trace_dropped = self._counter("trace_dropped", "Exchanges that could not be recorded")

    def _prompts(self) -> None:
        self._prompt_seen = self._cached_seen = 0
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens, as reported")
        self.cached_tokens = self._counter("cached_prompt_tokens", "Prompt tokens read from a cache, as reported")
        self.output_tokens = self._counter("output_tokens", "Generated tokens, as reported")
        self.cache_hits = self._counter("cache_hits", "Replies that reported prompt tokens read from a cache")
        self.cache_misses = self._counter("cache_misses", "Replies that reported that nothing came from a cache")
        self.cache_hit_rate = self._gauge(
            "cache_hit_rate", "Share of reported prompt tokens that came from a cache (0-1)"
        )
        self.saved_characters = self._counter(
            "prompt_characters_removed", "Characters a transform took out of prompts", "transform"
        )

    def _streams(self) -> None:
        self.endings = self._counter("stream_endings", "How streams ended", "ending")
        self.pings = self._counter("pings", "Keep-alive pings sent")
        self.grammar_violations = self._counter(
            "sse_grammar_violations", "Events out of legal order, made (translated) or seen (relayed)", "origin"
        )
        self.retry_grace = self._counter(
            "retry_grace", "Unfinished prefills of clients that left: held, joined by the retry, cancelled", "outcome"
        )
        self.tool_loops = self._counter(
            "tool_loops", "Requests of a model that made the same call with the same result three times or more"
        )
        self.joins = self._counter(
            "joins", "Requests that joined the same one, whose client had left (waiting) or not (answering)", "of"
        )
        for origin in ("translated", "relayed"):
            self.grammar_violations.labels(origin)  # a series that reads 0, not one that is missing
        for of in ("waiting", "answering"):
            self.joins.labels(of)

    def _breaker(self) -> None:
        self.breaker_state = self._gauge("circuit_breaker_state", "0 closed, 1 open, 2 half-open")
        self.breaker_failures = self._gauge("circuit_breaker_failures_total", "Requests the backend could not answer")
        self.breaker_successes = self._gauge("circuit_breaker_successes_total", "Requests the backend answered")
        self.breaker_latency_s = self._gauge(
            "circuit_breaker_latency_seconds", "Mean time to the first data of an answer"
        )

    def _nodes(self) -> None:
        self.node_up = self._gauge("node_up", "1 while the node of the cluster can be asked, else 0", "node")
        self.node_in_flight = self._gauge("node_in_flight", "Requests that the node has", "node")
        self.node_queued_tokens = self._gauge("node_queued_tokens", "Prompt tokens it still has to compute", "node")
        self.node_requests = self._gauge("node_requests_total", "Requests it was asked", "node")
        self.node_errors = self._gauge("node_errors_total", "Those that it could not answer", "node")
        self.node_latency_s = self._gauge("node_latency_seconds", "Time to its first content, lately", "node")
        self.node_cached_share = self._gauge(
            "node_cached_share", "Share of its reported prompt tokens that came from its cache (0-1)", "node"
        )

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"anyclaude_{name}", help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(f"anyclaude_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, *labels: str) -> Histogram:
        return Histogram(f"anyclaude_{name}", help, labels, buckets=SECONDS, registry=self.registry)

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

    def refresh(self, breaker: Breaker | None, nodes: Sequence[JsonObject] = ()) -> None:
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

        for node in nodes:
            self._show_node(node)

    def _show_node(self, node: JsonObject) -> None:
        shown = {
            self.node_up: float(node["state"] in ("up", "degraded")),
            self.node_in_flight: node["in_flight"],
            self.node_queued_tokens: node["queued_tokens"],
            self.node_requests: node["requests"],
            self.node_errors: node["errors"],
            self.node_latency_s: node["latency_s"],
            self.node_cached_share: node["cached_share"],
        }
        for gauge, value in shown.items():
            gauge.labels(node["name"]).set(NAN if value is None else value)

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
