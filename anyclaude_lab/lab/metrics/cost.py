"""What prompts and answers cost at list prices, and when fewer tokens cost more.

A prompt token is read from the provider's cache (cheap), or computed; computed ones are stored where the request asks
for it, as Claude Code's do, at the price of a cache write. A filter that leaves out tokens but changes the beginning of
the prompt turns cheap reads into dear writes: below `break_even_hit_rate` it costs more than it saves.
"""

from __future__ import annotations

from anyclaude_lab.lab.prices import Price

MILLION = 1_000_000


def cost_usd(
    price: Price | None,
    prompt_tokens: int | None,
    cached_tokens: int | None,
    output_tokens: int | None,
    *,
    stores: bool = True,
) -> float | None:
    """One exchange in dollars. None where price or counts are unknown, cached ones only where they matter.

    `stores`: the request asked for its prompt to be cached.
    """
    if price is None or prompt_tokens is None or output_tokens is None:
        return None
    if cached_tokens is None and price.caches:
        return None
    cached = min(cached_tokens or 0, prompt_tokens)
    computed = price.cache_write if stores else price.input
    spent = cached * price.cache_read + (prompt_tokens - cached) * computed + output_tokens * price.output
    return spent / MILLION


def prompt_price(price: Price, hit_rate: float) -> float:
    """Dollars per million prompt tokens of which so many, 0 to 1, come from the cache; the others are stored."""
    return hit_rate * price.cache_read + (1 - hit_rate) * price.cache_write


def break_even_hit_rate(price: Price, saved_ratio: float, hit_rate: float) -> float | None:
    """The reuse at which prompts that are shorter by `saved_ratio` cost as much as whole ones reused to `hit_rate`.

    Below it the shorter prompts cost more. Below 0: they are cheaper however little is reused. Above 1: never. None
    where nothing is left of the prompt, or a cached token costs what a stored one does.
    """
    if saved_ratio >= 1 or price.cache_write == price.cache_read:
        return None
    allowed = prompt_price(price, hit_rate) / (1 - saved_ratio)
    return (price.cache_write - allowed) / (price.cache_write - price.cache_read)
