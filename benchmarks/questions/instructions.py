"""How many instructions does a reply take, beside the bare relay's? No neighbour changes that, unlike times.

Counted by valgrind's callgrind (package `valgrind` of Debian): user instructions of the whole process, once it is warm.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.proxies.load import volley
from benchmarks.proxies.measure import RELAY, running
from benchmarks.proxies.subjects import Subject
from benchmarks.results import Number, Options, Table

UNPACED, PACED, GAP_MS = 40, 3, 20
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def figures(options: Options) -> Table:
    """A row for each way through the proxy, in millions of instructions a reply."""
    if shutil.which("callgrind_control") is None:
        raise SystemExit("instructions: valgrind is not installed, and it does the counting; install the package.")
    with tempfile.TemporaryDirectory() as scratch:
        under = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/%p", "--quiet")
        with running(None, under=under) as started:
            counted = {subject.name: _counted(subject, Path(scratch)) for subject in started}
    bare = counted[RELAY]
    rows: dict[str, dict[str, Number]] = {
        name: {
            "unpaced_M": own[0],
            "paced_M": own[1],
            "unpaced_x_relay": own[0] / bare[0],
            "paced_x_relay": own[1] / bare[1],
        }
        for name, own in counted.items()
    }
    how = f"one stream, 200 chunks a reply; unpaced n = {UNPACED} replies, paced n = {PACED}, {GAP_MS} ms gaps"
    return Table(rows, how)


def _counted(subject: Subject, folder: Path) -> tuple[float, float]:
    unpaced = _per_reply(subject, folder, UNPACED, 0)
    return unpaced, _per_reply(subject, folder, PACED, GAP_MS)


def _per_reply(subject: Subject, folder: Path, replies: int, gap_ms: int) -> float:
    """Millions of instructions for each of so many replies, one after the other."""
    _control("-z", subject)
    asyncio.run(volley(subject.port, subject.model, requests=replies, streams=1, gap_ms=gap_ms))
    before = set(folder.iterdir())
    _control("-d", subject)
    (dump,) = (path for path in set(folder.iterdir()) - before if path.name.startswith(str(subject.pid)))
    found = TOTALS.findall(dump.read_text())
    return int(found[-1]) / replies / 1e6


def _control(what: str, subject: Subject) -> None:
    subprocess.run(["callgrind_control", what, str(subject.pid)], check=True, capture_output=True)
