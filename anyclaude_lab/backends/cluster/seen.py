"""Which beginnings of prompts a node has computed. PURE: times are handed in.

A prompt is cut into blocks of equal size from its start on, and each block is named by a hash of itself and all before
it, so equal names are equal beginnings. A node's memory is a set of names, the ones used last kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from anyclaude_lab.wire.request import Request

BLOCK_BYTES = 1024
BLOCK_TOKENS = 256  # about 4 bytes of JSON a token

Blocks = tuple[bytes, ...]


def blocks_of(request: Request) -> Blocks:
    """The names of the full blocks of a prompt, in the order templates render it: system, tools, turns."""
    text = b"".join(_pieces(request))
    names, name = [], b""
    for start in range(0, len(text) - BLOCK_BYTES + 1, BLOCK_BYTES):
        name = blake2b(name + text[start : start + BLOCK_BYTES], digest_size=8).digest()
        names.append(name)
    return tuple(names)


def _pieces(request: Request) -> Iterator[bytes]:
    yield orjson.dumps([request.body.get("system"), request.body.get("tools")])
    for message in request.messages:
        yield orjson.dumps(message)


@dataclass(slots=True)
class Seen:
    """The memory of one node: at most `tokens` of prompts, none unused for longer than `age_s`."""

    tokens: int
    age_s: float
    _used: OrderedDict[bytes, float] = field(default_factory=OrderedDict)  # when, the least recently used first

    def shared(self, blocks: Sequence[bytes], now: float) -> int:
        """How many blocks at the beginning it has computed."""
        for count, name in enumerate(blocks):
            used = self._used.get(name)
            if used is None or now - used > self.age_s:
                return count
        return len(blocks)

    def add(self, blocks: Sequence[bytes], now: float) -> None:
        """It computes this prompt. The beginning counts as used last: without it the rest is worth nothing."""
        for name in reversed(blocks):
            self._used[name] = now
            self._used.move_to_end(name)
        while len(self._used) * BLOCK_TOKENS > self.tokens:
            self._used.popitem(last=False)

    def forget(self) -> None:
        """It was restarted, or says that it knows nothing of it."""
        self._used.clear()
