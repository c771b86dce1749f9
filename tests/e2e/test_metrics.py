"""After a session of the real client, every metric holds what happened."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.session import PROMPT, EditSession
from tests.e2e.test_sessions import FOREIGN_MODEL, backend
from tests.standins.http import running

FED = {
    "anyclaude_requests_total",
    "anyclaude_request_duration_seconds_count",
    "anyclaude_request_duration_seconds_sum",
    "anyclaude_time_to_first_token_seconds_count",
    "anyclaude_prompt_tokens_total",
    "anyclaude_cached_prompt_tokens_total",
    "anyclaude_output_tokens_total",
    "anyclaude_cache_hits_total",
    "anyclaude_cache_misses_total",
    "anyclaude_cache_hit_rate",
    "anyclaude_prompt_characters_removed_total",
    "anyclaude_circuit_breaker_successes_total",
    "anyclaude_circuit_breaker_latency_seconds",
    "anyclaude_stream_endings_total",
    "anyclaude_process_cpu_seconds_total",
    "anyclaude_process_memory_bytes",
}
ZERO = {
    "anyclaude_active_requests",
    "anyclaude_circuit_breaker_state",
    "anyclaude_circuit_breaker_failures_total",
    "anyclaude_sse_grammar_violations_total",
    "anyclaude_client_disconnects_total",
}


def test_every_metric_is_fed_by_a_session(place: Place, start_proxy: StartProxy) -> None:
    session = EditSession(place.project)
    with running(backend("mlx-lm", session)) as server:
        proxy = start_proxy(server)
        session.check(headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL))
        text = proxy.metrics()
        chats = len(server.chats)
    seen: dict[str, float] = {}
    answered = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            seen[sample.name] = seen.get(sample.name, 0.0) + sample.value
            if sample.name == "anyclaude_requests_total" and sample.labels["endpoint"] == "/v1/messages":
                answered += sample.value
    assert {name for name in FED if not seen.get(name, 0) > 0} == set()
    assert {name for name in ZERO if seen[name] != 0} == set()
    assert answered == len(proxy.messages) == chats
    # Append-only prompts: every request of the conversation after the first reads most of its prompt from the cache.
    assert seen["anyclaude_cache_hits_total"] >= len(session.talks) - 1
    assert seen["anyclaude_cache_hit_rate"] > 0.5
    asked = [json.loads(passed.request_body) for passed in proxy.messages]
    assert seen["anyclaude_stream_endings_total"] == len(asked)
