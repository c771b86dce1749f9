"""Seconds from `import anyclaude_lab` to the first picture of the bundled traces, of five fresh processes. Goal: 3 s.

The picture is what a notebook shows: the card of all sessions, then a session's timeline with a turn's exchange.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

RUNS = 5
CODE = """
import json, time
began = time.perf_counter()
import anyclaude_lab as lab
traces = lab.load({traces!r})
traces._repr_html_()
first_s = time.perf_counter() - began
lab.widgets.TraceViewer(traces)._repr_mimebundle_()
print(json.dumps([first_s, time.perf_counter() - began, len(traces.turns)]))
"""


def measure() -> tuple[float, float, int]:
    """To the sessions' card, to a widget's timeline (both from the import on), and the turns there are."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(traces="traces")], capture_output=True, text=True, check=True
    )
    first_s, timeline_s, turns = json.loads(done.stdout)
    return float(first_s), float(timeline_s), int(turns)


def main() -> None:
    measure()  # compiles what is not compiled yet
    cards_s, timelines_s, turns = zip(*(measure() for _ in range(RUNS)), strict=True)
    for name, found in (("first picture, the sessions", cards_s), ("timeline of a session, as a widget", timelines_s)):
        spread = f"{min(found):.2f} to {max(found):.2f} s"
        print(f"{name}: median {statistics.median(found):.2f} s, {spread}, n {RUNS} processes, {turns[0]} turns")


if __name__ == "__main__":
    main()
