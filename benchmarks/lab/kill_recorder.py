"""A recorder killed at random points: what is lost. `python -m benchmarks.lab.kill_recorder [TIMES]` (100)."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from anyclaude_lab.trace.read import read_trace

# It says how many exchanges it has written for certain, and writes on until it is killed.
WRITE = """
import sys
from pathlib import Path
from anyclaude_lab.trace.record import Encoder, Entry, Recording
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.store import append
file, encoder, held = Path(sys.argv[1]), Encoder(Redaction(b"k")), set()
append(file, encoder.start())
for number in range(100_000):
    body = b'{"model":"m","messages":[{"role":"user","content":"%d %s"}]}' % (number, b"text " * 2000)
    lines, fresh = encoder.lines(Entry("s", {}, 200, body, Recording(float(number), [(0.1, b"answer")])), held)
    held.update(fresh)
    append(file, lines)
    print(number + 1, flush=True)
"""


def main(times: int = 100) -> None:
    """Kill, count, print."""
    pause, worst, torn, sessions = random.Random(1), 0, 0, 0
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "t.jsonl")
            with subprocess.Popen([sys.executable, "-c", WRITE, file], stdout=subprocess.PIPE) as writer:
                assert writer.stdout is not None
                first = writer.stdout.readline()
                try:
                    writer.wait(pause.uniform(0, 0.05))
                except subprocess.TimeoutExpired:
                    writer.kill()
                said = [first, *writer.stdout.read().splitlines()]
            certain = max(int(line) for line in said if line.strip().isdigit())
            trace = read_trace(file)
            worst = max(worst, certain - len(trace.exchanges))
            torn += bool(trace.complaints)
            sessions += bool(trace.exchanges)
    print(f"killed {times} times: {sessions} sessions readable, {torn} with a torn last record, "
          f"at most {worst} finished records lost")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
