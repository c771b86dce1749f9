"""The backend of the benchmark: a program that answers every request with 200 chunks, in either API. PORT_FILE.

How many milliseconds lie between two chunks stands in the prompt (`gap-10`), which every proxy passes on. Each chunk
carries the nanosecond it was written.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path

CHUNKS = 200
GAP = re.compile(rb"gap-(\d+)")
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MARK = "@{}@ and some words "


def framed(data: bytes) -> bytes:
    """One chunk of HTTP/1.1's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def openai_chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": [choice]}
    return b"data: " + json.dumps(head).encode() + b"\n\n"


def anthropic_event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def opening(anthropic: bool) -> bytes:
    if not anthropic:
        return openai_chunk({"role": "assistant", "content": ""})
    usage = {"input_tokens": 15000, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "bench", "usage": usage}
    start = anthropic_event("message_start", message=message | {"stop_reason": None, "stop_sequence": None})
    return start + anthropic_event("content_block_start", index=0, content_block={"type": "text", "text": ""})


def chunk(anthropic: bool) -> bytes:
    text = MARK.format(time.monotonic_ns())
    if not anthropic:
        return openai_chunk({"content": text})
    return anthropic_event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def closing(anthropic: bool) -> bytes:
    if not anthropic:
        usage = {"prompt_tokens": 15000, "completion_tokens": CHUNKS, "total_tokens": 15000 + CHUNKS}
        last = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": []}
        return (
            openai_chunk({}, "stop")
            + b"data: "
            + json.dumps(last | {"usage": usage}).encode()
            + b"\n\ndata: [DONE]\n\n"
        )
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return (
        anthropic_event("content_block_stop", index=0)
        + anthropic_event("message_delta", delta=delta, usage={"output_tokens": CHUNKS})
        + anthropic_event("message_stop")
    )


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request after another on a connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if not head.startswith(b"POST"):
                plain = b'{"object": "list", "data": [{"id": "bench", "object": "model"}]}'
                kind = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(plain)
                writer.write(b"HTTP/1.1 200 OK\r\n" + kind + plain)
                continue
            await stream(writer, anthropic=b"/messages" in head.split(b"\r\n")[0], body=body)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def stream(writer: asyncio.StreamWriter, *, anthropic: bool, body: bytes) -> None:
    found = GAP.search(body)
    gap_s = int(found[1]) / 1000 if found else 0.0
    writer.write(HEAD + framed(opening(anthropic)))
    due = time.monotonic()
    for _ in range(CHUNKS):
        due += gap_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(framed(chunk(anthropic)))
    writer.write(framed(closing(anthropic)) + b"0\r\n\r\n")
    await writer.drain()


async def main(port_file: Path) -> None:
    """Serve on a free port, which is written to the file, for as long as the program lives."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    await asyncio.to_thread(port_file.write_text, str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
