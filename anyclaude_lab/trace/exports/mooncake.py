"""Mooncake's trace lines, for load generators: when, how long, and which blocks of 512 tokens prompts share.

Tokens are characters by 3.5 (no tokenizer is asked), so that lengths and blocks fit each other; every line says so.
Source: kvcache-ai/Mooncake, FAST25-release/traces.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import orjson

from anyclaude_lab.render.tokens import CHARACTERS_PER_TOKEN
from anyclaude_lab.trace.exports.times import started
from anyclaude_lab.trace.read import Recorded, Trace
from anyclaude_lab.trace.segments import ids_of

BLOCK_TOKENS = 512


def export(traces: Sequence[Trace]) -> bytes:
    """A line for each exchange in the order of their starts; equal beginnings of prompts have equal `hash_ids`."""
    found = sorted(((started(t, e), e) for t in traces for e in t.exchanges), key=lambda pair: pair[0])
    numbers: dict[bytes, int] = {}
    lines = []
    for at, exchange in found:
        prompt = _prompt(exchange)
        output = (exchange.data.get("usage") or {}).get("output_tokens")
        lines.append(
            {
                "timestamp": round((at - found[0][0]) * 1000),
                "input_length": math.ceil(len(prompt) / CHARACTERS_PER_TOKEN),
                "output_length": output
                if output is not None
                else math.ceil(len(exchange.answer) / CHARACTERS_PER_TOKEN),
                "hash_ids": _blocks(prompt, numbers),
                "session_id": exchange.session,
                "tokenizer": f"characters/{CHARACTERS_PER_TOKEN}",
                "block_size": BLOCK_TOKENS,
            }
        )
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def _prompt(exchange: Recorded) -> str:
    """Tools, system, messages: the order in which templates write them."""
    names = [name for section in ("tools", "system", "messages") for name in ids_of(exchange.segments, section)]
    return "\n".join(exchange.blobs[name] for name in names) or exchange.body


def _blocks(prompt: str, numbers: dict[bytes, int]) -> list[int]:
    size = int(BLOCK_TOKENS * CHARACTERS_PER_TOKEN)
    chain, blocks = b"", []
    for place in range(0, len(prompt), size):
        chain = hashlib.sha256(chain + prompt[place : place + size].encode()).digest()
        blocks.append(numbers.setdefault(chain, len(numbers)))
    return blocks
