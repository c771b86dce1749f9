"""Token counts and prefill progress, under the many names servers have for them."""

from __future__ import annotations

from typing import Any

from anyclaude_lab.wire.events import JsonObject, Usage

MOST_TOKENS = 2**53


def read_usage(chunk: JsonObject, before: Usage) -> tuple[Usage, JsonObject]:
    """The counts known after this chunk, and the backend's own objects as it spelled them.

    A later count replaces an earlier one (vLLM can send usage with every chunk). Zero prompt tokens are no count.
    """
    prompt, cached, output = before.prompt_tokens, before.cached_tokens, before.output_tokens
    reported: JsonObject = {}
    usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
    if isinstance(usage, dict):
        reported["usage"] = usage
        prompt = count_in(usage.get("prompt_tokens")) or prompt
        output = _output(usage, prompt, output)
        cached = _cached(usage, cached)
    timings = chunk.get("timings")
    if isinstance(timings, dict):  # llama.cpp: cache_n + prompt_n = prompt
        reported["timings"] = timings
        reused, computed = count_in(timings.get("cache_n")), count_in(timings.get("prompt_n"))
        cached = cached if reused is None else reused
        if prompt is None and computed is not None:
            prompt = computed + (reused or 0)
        output = output if output else count_in(timings.get("predicted_n"))
    return Usage(prompt, cached, output), reported


def progress_in(comment: str) -> tuple[int, int] | None:
    """(done, total) prefill tokens of a `keepalive 512/2048` comment (mlx-lm)."""
    head, _, counts = comment.strip().partition(" ")
    done, _, total = counts.partition("/")
    if head != "keepalive" or not done.isdigit() or not total.isdigit():
        return None
    return int(done), int(total)


def _output(usage: JsonObject, prompt: int | None, before: int | None) -> int | None:
    output, total = count_in(usage.get("completion_tokens")), count_in(usage.get("total_tokens"))
    if output is not None and total is not None and prompt is not None and total > prompt + output:
        return total - prompt  # quirk(xAI): reasoning tokens are in the total only
    return output if output is not None else before


def _cached(usage: JsonObject, before: int | None) -> int | None:
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict) and (cached := count_in(details.get("cached_tokens"))) is not None:
        return cached
    for field in ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"):  # DeepSeek, Moonshot, routers
        if (cached := count_in(usage.get(field))) is not None:
            return cached
    return before


def count_in(value: Any) -> int | None:
    """A number of tokens; None for whatever cannot be one, infinity included."""
    possible = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return int(value) if possible else None
