"""Many streams at once, some slow, some left by their client, some broken by their backend, for minutes.

    python -m benchmarks.soak streams [--streams 200] [--minutes 10]

Memory and descriptors of the proxy are read after a warm-up of its own and again after the load has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.soak.proxy import Held, Running, proxy
from benchmarks.soak.result import write
from tests.reliability.streams import ASK, Seen, complaints
from tests.standins.faulty import FaultyBackend, Play

TOKENS, GAP_S = 60, 0.05  # an answer of three seconds
DEADLINE_S = 60.0
SETTLE_S = 10.0
WARM_UP_SHARE = 0.2
FAULTS = ("whole",) * 7 + ("cut", "reset", "half call", "garbage", "error")
CLIENTS = ("reads",) * 7 + ("reads slowly", "leaves early", "leaves in the middle")


def _chunk(delta: dict[str, object], stop: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": stop}]}).encode() + b"\n\n"


def _call(arguments: str) -> bytes:
    call = {"index": 0, "id": "call_1", "function": {"name": "Read", "arguments": arguments}}
    return _chunk({"tool_calls": [call]})


END = (_chunk({}, "stop"), b"data: [DONE]\n\n")
ENDS: dict[str, tuple[bytes, ...]] = {
    "whole": END,
    "half call": (_call('{"path": "/tmp'),),
    "garbage": (b"\x00\xff<html>\n\n", b"data: {broken\n\n", *END),
    "error": (b'data: {"error": {"message": "out of memory", "code": 500}}\n\n',),
}


def play(chance: random.Random) -> Play:
    """One answer: text at the speed of a model, then one of the ends."""
    fault = chance.choice(FAULTS)
    text = [part for number in range(TOKENS) for part in (_chunk({"content": f"word{number} "}), GAP_S)]
    if fault in ("cut", "reset"):
        text = text[: chance.randrange(2, len(text))]
    pieces = (*text, *ENDS.get(fault, ()))
    whole = fault in ("whole", "garbage", "error")
    return Play(pieces, whole=whole, end="reset" if fault == "reset" else "close")


async def one(port: int, how: str) -> str:
    """One request by a client of that kind; how it ended, in a word."""
    body = json.dumps(ASK).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    got = bytearray()
    try:
        async with asyncio.timeout(DEADLINE_S):
            if how == "leaves early":
                return "left"
            while data := await reader.read(1024 if how == "reads slowly" else 65536):
                got += data
                if how == "reads slowly":
                    await asyncio.sleep(0.02)
                elif how == "leaves in the middle" and len(got) > 4000:
                    return "left"
    except TimeoutError:
        return "HANG"
    except ConnectionError:
        pass
    finally:
        writer.close()
    return _judged(bytes(got))


def _judged(got: bytes) -> str:
    head, _, chunked = got.partition(b"\r\n\r\n")
    if not head:
        return "ILLEGAL no answer"
    status = int(head.split(b" ", 2)[1])
    complete = chunked.endswith(b"0\r\n\r\n") or status != 200
    body = _unchunked(chunked) if b"chunked" in head.lower() else chunked
    wrong = complaints(Seen(status, body, complete))
    if wrong:
        return f"ILLEGAL {wrong[0]}"
    if status != 200:
        return f"refused with {status}"
    return "complete" if complete else "cut"


def _unchunked(data: bytes) -> bytes:
    body = bytearray()
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16) if size else 0
        body += rest[:length]
        data = rest[length + 2 :] if length else b""
    return bytes(body)


async def load(port: int, streams: int, seconds: float, seed: int) -> Counter[str]:
    """So many clients, each asking again as soon as it is done, for so long."""
    until, ended = time.monotonic() + seconds, Counter[str]()

    async def client(number: int) -> None:
        chance = random.Random(seed * 100_003 + number)
        await asyncio.sleep(chance.random())
        while time.monotonic() < until:
            ended[await one(port, chance.choice(CLIENTS))] += 1

    await asyncio.gather(*(client(number) for number in range(streams)))
    return ended


async def soak(streams: int, minutes: float, seed: int) -> dict[str, object]:
    """The figures of one run."""
    chance, seconds = random.Random(seed), minutes * 60
    async with FaultyBackend(lambda: play(chance)) as backend:
        with proxy({"LOCAL_URL": f"{backend.url}/v1"}) as running:
            port = int(running.url.rpartition(":")[2])
            await load(port, streams, max(seconds * WARM_UP_SHARE, 5.0), seed)
            before, rss = await _settled(running, backend), [running.held().resident_bytes]
            sampling = asyncio.create_task(_sample(running, rss))
            ended = await load(port, streams, seconds, seed + 1)
            sampling.cancel()
            after = await _settled(running, backend)
            left = backend.open
    return {
        "streams": streams,
        "minutes": minutes,
        "seed": seed,
        "requests": sum(ended.values()),
        "ended": dict(ended.most_common()),
        "hangs": ended["HANG"],
        "illegal": sum(count for word, count in ended.items() if word.startswith("ILLEGAL")),
        "resident_mib": {
            "before": round(before.resident_bytes / 2**20, 1),
            "median": round(statistics.median(rss) / 2**20, 1),
            "each_minute": [round(size / 2**20, 1) for size in rss[::60]],
            "most": round(max(rss) / 2**20, 1),
            "after": round(after.resident_bytes / 2**20, 1),
            "growth_percent": round(100 * (after.resident_bytes / before.resident_bytes - 1), 1),
        },
        "descriptors": {"before": before.descriptors, "after": after.descriptors},
        "threads": {"before": before.threads, "after": after.threads},
        "connections_to_the_backend_left": left,
    }


async def _settled(running: Running, backend: FaultyBackend) -> Held:
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        if backend.open == 0 and time.monotonic() > until - SETTLE_S + 3:
            break
    return running.held()


async def _sample(running: Running, into: list[int]) -> None:
    while True:
        await asyncio.sleep(1.0)
        into.append(running.held().resident_bytes)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak streams")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    figures = asyncio.run(soak(asked.streams, asked.minutes, asked.seed))
    write("streams", figures)
    return 1 if figures["hangs"] or figures["illegal"] or figures["connections_to_the_backend_left"] else 0
