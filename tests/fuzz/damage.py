"""Damage: one input made of others, so that much of it still makes sense."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

WORDS = (
    b"null", b"true", b"-1", b"1e400", b"99999999999999999999", b'""', b"{}", b"[]", b'"\\ud800"', b'"\\u0000"',
    b"[" * 2000,
    b'{"a":' * 500, b"data: ", b"\n\n", b"\r\n", b"event: ", b": ", b"[DONE]", b"<think>", b"</think>", b"<tool_call>",
    b'"tool_calls"', b'"index"', b'"arguments"', b'"content"', b'"finish_reason"', b'"role"', b'"type"',
    b'"error"', b'"usage"',
    b"\xff", b"\xc3", b"\xf0\x9f", b"\x00", "é😀\u2028".encode(), b"\\",
)  # fmt: skip
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null|\{\}|\[\]')
LONGEST_BYTES = 65536


def damaged(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """A seed with one to eight changes."""
    data = chance.choice(seeds)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        data = chance.choice(CHANGES)(data, seeds, chance)[:LONGEST_BYTES]
    return data


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((0, 1, 4, 30, 300)))


def _drop(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _double(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 2, 50)) + data[end:]


def _insert(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + chance.choice(WORDS) + data[chance.choice((start, end)) :]


def _flip(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ (1 << chance.randrange(8)),)) + data[at + 1 :]


def _splice(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(seeds)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _other_value(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One JSON value in the place of another: the text stays JSON, its shape does not."""
    values = [found.span() for found in _VALUE.finditer(data[:8192])]
    if not values:
        return data
    start, end = chance.choice(values)
    here, there = chance.choice(values)
    return data[:start] + chance.choice((*WORDS[:8], data[here:there])) + data[end:]


CHANGES = (_drop, _double, _insert, _flip, _splice, _other_value, _other_value, _other_value)
