"""The client of the benchmark: requests like Claude Code's, n at a time, and when each chunk of the answers came."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from functools import cache

from benchmarks.proxies.upstream import CHUNKS

MARK = re.compile(rb"@(\d+)@")
BODY_BYTES = 58_000
TOOLS = 24


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer: seconds to its first chunk, and by how much each chunk was late, in seconds."""

    ttft_s: float
    delays_s: tuple[float, ...]


@cache
def body(model: str, gap_ms: int) -> bytes:
    """A streaming Messages request of about 58 KB: a system prompt, tools, a short history."""
    words = "Work in the folder that was named, read before writing, and say what was done in one line. "
    schema = {"type": "object", "properties": {"path": {"type": "string"}, "text": {"type": "string"}}}
    tools = [{"name": f"Tool{i}", "description": words * 12, "input_schema": schema} for i in range(TOOLS)]
    request = {
        "model": model,
        "max_tokens": 4096,
        "stream": True,
        "system": [{"type": "text", "text": words * 120}],
        "tools": tools,
        "messages": [{"role": "user", "content": [{"type": "text", "text": f"Please begin. gap-{gap_ms}"}]}],
    }
    missing = BODY_BYTES - len(json.dumps(request))
    request["system"] = [{"type": "text", "text": words * (120 + max(0, missing) // len(words))}]
    return json.dumps(request).encode()


async def ask(port: int, model: str, gap_ms: int) -> Streamed:
    """One request on a connection of its own. Raises RuntimeError where the answer is not the whole stream."""
    data = body(model, gap_ms)
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
        "x-api-key: bench\r\nauthorization: Bearer bench\r\nanthropic-version: 2023-06-01\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began_ns = time.monotonic_ns()
    writer.write(head.encode() + data)
    first_ns, rest, seen = 0, b"", bytearray()
    delays_s: list[float] = []
    while piece := await reader.read(65536):
        now_ns = time.monotonic_ns()
        text = rest + piece
        found = list(MARK.finditer(text))
        if found:
            first_ns = first_ns or now_ns
            delays_s += [(now_ns - int(match[1])) / 1e9 for match in found]
        rest = text[found[-1].end() :][-64:] if found else text[-64:]
        seen += piece if len(seen) < 500 else b""
        if b"message_stop" in text:
            break
    writer.close()
    if len(delays_s) != CHUNKS:
        raise RuntimeError(f"{len(delays_s)} of {CHUNKS} chunks came; the answer began {bytes(seen[:300])!r}")
    return Streamed((first_ns - began_ns) / 1e9, tuple(delays_s))


async def volley(port: int, model: str, *, requests: int, streams: int, gap_ms: int) -> list[Streamed]:
    """That many requests, that many at a time."""
    places = asyncio.Semaphore(streams)

    async def one() -> Streamed:
        async with places:
            return await ask(port, model, gap_ms)

    return list(await asyncio.gather(*(one() for _ in range(requests))))
