"""Synthetic sessions loaded into tables: seconds and memory. `python -m benchmarks.lab.load [SESSIONS]` (1,000)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from anyclaude_lab.trace.record import Encoder, Entry, Recording
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.wire.events import block_start, block_stop, json_delta, message_delta, message_start, message_stop

TURNS = 100
DOES = "Does a thing. " * 30


class Unchanged(Redaction):
    """Writing is not what is measured, and these texts hold no secret."""

    def text(self, text: str) -> str:
        return text

    def stream(self, text: str) -> str:
        return text


def session(number: int) -> bytes:
    """A session of tool calls whose history grows by two messages a turn."""
    encoder = Encoder(Unchanged(b"k"))
    held: set[str] = set()
    messages: list[object] = [{"role": "user", "content": "begin"}]
    schema = {"type": "object"}
    tools = [{"name": f"Tool{n}", "description": f"{DOES}{number}", "input_schema": schema} for n in range(25)]
    data = [encoder.start()]
    for turn in range(TURNS):
        body = orjson.dumps({"model": "m", "max_tokens": 9, "tools": tools, "messages": messages})
        entry = Entry(f"s{number}", FACTS | {"lane": f"s{number}/main"}, 200, body, Recording(float(turn), PIECES))
        lines, fresh = encoder.lines(entry, held)
        held.update(fresh)
        data.append(lines)
        call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "Tool1", "input": {"path": f"/a/{turn}" * 20}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": f"line {turn} " * 60}
        messages = [*messages, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return b"".join(data)


FACTS = {"usage": {"prompt_tokens": 1000, "cached_tokens": 900, "output_tokens": 30}, "stop_reason": "tool_use"}
EVENTS = [
    message_start("m", "m", {}),
    block_start(0, {"type": "tool_use", "id": "toolu_1", "name": "Tool1", "input": {}}),
    *(json_delta(0, piece) for piece in ['{"pa', 'th": "/', "a/b", '"}']),
    block_stop(0),
    message_delta("tool_use", {"output_tokens": 30}),
    message_stop(),
]
PIECES: list[tuple[float | None, bytes]] = [(0.1 * n, event.encode()) for n, event in enumerate(EVENTS)]
LOAD = """
import resource, sys, time
began = time.perf_counter()
import anyclaude_lab as lab
traces = lab.load(sys.argv[1])
said = f"{len(traces.sessions):,} sessions, {len(traces.turns):,} requests, {len(traces.tool_calls):,} calls"
if sys.argv[2] != "tables":
    began = time.perf_counter()
    said = f"{len(getattr(traces, sys.argv[2])):,} rows of .{sys.argv[2]}, besides"
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{said}: {seconds:.1f} s, peak of the process {peak:,.0f} MB", flush=True)
"""


def main(sessions: int = 1000) -> None:
    """Write the sessions, load them, and the lazy tables, in processes of their own; print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for number in range(sessions):
            Path(folder, f"{number:05}.jsonl").write_bytes(session(number))
        size_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        print(f"written: {size_mb:,.0f} MB in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        for what in ("tables", "blocks", "events"):
            subprocess.run([sys.executable, "-c", LOAD, folder, what], check=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
