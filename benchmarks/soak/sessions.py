"""The real Claude Code, session after session, on a backend that fails at a random step in a random way.

    python -m benchmarks.soak sessions [--count 500] [--parallel 2] [--seed 1] [--real-timers]

A session is complete when every step ran once, its result came back and the file changed as asked; when every stream
that reached the client was legal; and when its trace holds every exchange, unharmed and without a secret. It may take
less than the shortest of the client's own timers, so that one that ends has not waited for them.

`--real-timers`: the faults are silences longer than the client's patience, and nothing shortens the proxy's; a session
takes minutes, and most of it sleeps. The result is written after every session; Ctrl-C ends the run with those that
are under way.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyclaude_lab.trace.read import DamagedTrace, read_trace
from anyclaude_lab.trace.verify import secrets_in
from benchmarks.soak.result import write
from tests.e2e.claude_code import KEY, LATEST, Place, headless
from tests.e2e.conftest import settings_for
from tests.e2e.proxy_process import Proxy, proxy_process
from tests.e2e.session import PROMPT, StumblingSession
from tests.e2e.test_faults import CUTS, REFUSALS
from tests.e2e.test_sessions import FOREIGN_MODEL, backend
from tests.reliability.streams import Seen, complaints
from tests.standins.http import running
from tests.standins.script import Fault, Refusal, Stall

SERVERS = ("openai", "mlx-lm", "llama.cpp", "vllm", "lmstudio", "ollama")
STEPS = 4
HANG_S = 240.0  # below the shortest of the client's timers: 300 s without an event

Mishaps = Sequence[Fault | Refusal]
FAULTS: dict[str, Mishaps] = {**{name: [cut] for name, cut in CUTS.items()}, **REFUSALS}
SILENCES: dict[str, Mishaps] = {
    "silent before the head": [Refusal(503, "late", after_s=24 * 3600)],
    "silent before content": [Stall("start")],
    "silent in text": [Stall("text")],
    "silent in a call": [Stall("tool")],
    "400 s before content": [Stall("start", 400)],  # a long prefill: it goes on by itself
}
REAL_HANG_S = 19 * 60.0  # what the proxy waits for a first byte, twice: the client asks again after a silence


@dataclass(frozen=True, slots=True)
class Case:
    """What happens in one session."""

    number: int
    server: str
    fault: str
    step: int
    mishaps: Mishaps
    patience_s: float

    def __str__(self) -> str:
        return f"session {self.number}: {self.fault} at step {self.step} of {self.server}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `failed`: why it is not complete."""

    case: Case
    seconds: float
    streams: int = 0
    records: int = 0
    failed: str = ""


def cases(count: int, seed: int, faults: dict[str, Mishaps], patience_s: float) -> Iterator[Case]:
    """Every fault as often as every other one, each at a random step of a random server."""
    chance = random.Random(seed)
    for number in range(count):
        fault = list(faults)[number % len(faults)]
        step = chance.randrange(STEPS - 1 if "call" in fault else STEPS)
        yield Case(number, chance.choice(SERVERS), fault, step, faults[fault], patience_s)


def outcome(case: Case) -> Outcome:
    """One session, whatever becomes of it. The folder of one that failed stays, for whoever looks into it."""
    folder, began = Path(tempfile.mkdtemp(prefix=f"session-{case.number}-")), time.monotonic()
    try:
        streams, records = session(case, folder)
    except Exception as error:
        (folder / "failure.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"{case}: FAILED, see {folder}: {reason}", flush=True)
        return Outcome(case, time.monotonic() - began, failed=reason)
    shutil.rmtree(folder, ignore_errors=True)  # the client's last writes may race with it
    return Outcome(case, time.monotonic() - began, streams, records)


def session(case: Case, folder: Path) -> tuple[int, int]:
    """Streams and records of one session. Raises AssertionError where it is not complete."""
    place = Place.fresh(folder)
    work = StumblingSession(place.project, mishaps=list(case.mishaps), at=case.step)
    arguments = ["--mode", "local", "--record", str(folder / "traces")]
    with running(backend(case.server, work)) as server:
        with proxy_process(folder / "proxy", arguments, settings_for("local", server)) as proxy:
            line = FOREIGN_MODEL
            result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=line, timeout=case.patience_s)
            work.check(result)
        assert server.violations == [], server.violations
    assert work.struck == len(case.mishaps), f"the fault struck {work.struck} times"
    return legal(proxy), recorded(proxy, folder / "traces")


def legal(proxy: Proxy) -> int:
    """How many answers the client got, every one of them legal."""
    for passed in proxy.messages:
        wrong = complaints(Seen(passed.status, passed.body, passed.complete), stream=passed.is_stream)
        assert not wrong, f"ILLEGAL {wrong} in {passed.body[-500:]!r}"
    return len(proxy.messages)


def recorded(proxy: Proxy, folder: Path) -> int:
    """How many exchanges the traces hold: all that the client was answered, unharmed."""
    exchanges = []
    for file in folder.glob("*.jsonl"):
        try:
            trace = read_trace(file)
        except DamagedTrace as damage:
            raise AssertionError(f"CORRUPTED {damage}") from None
        assert not trace.complaints, f"CORRUPTED {trace.complaints}"
        assert not (found := secrets_in(trace)), f"SECRET {found}"
        assert KEY not in file.read_text(encoding="utf-8"), "SECRET the client's key is in its trace"
        exchanges += trace.exchanges
    held = Counter((each.data["response"]["status"], each.answer.encode()) for each in exchanges)
    # Of a refusal the trace holds the status and the reason, not the envelope.
    got = [(each.status, each.body if each.status == 200 else b"") for each in proxy.messages if each.complete]
    missing = Counter(got) - held
    assert not missing, f"CORRUPTED {len(missing)} answers that the client got are in no trace"
    return len(exchanges)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of those that have ended."""
    complete = [each for each in outcomes if not each.failed]
    failed = [each for each in outcomes if each.failed]
    seconds = sorted(each.seconds for each in complete)
    spread = statistics.quantiles(seconds, n=20) if len(seconds) > 1 else []
    by_fault = Counter(each.case.fault for each in complete)
    return {
        "ended": len(outcomes),
        "completed": len(complete),
        "hangs": sum("did not end" in each.failed for each in failed),
        "illegal_streams": sum("ILLEGAL" in each.failed for each in failed),
        "corrupted_traces": sum("CORRUPTED" in each.failed for each in failed),
        "legal_answers": sum(each.streams for each in complete),
        "verified_records": sum(each.records for each in complete),
        "by_fault": dict(sorted(by_fault.items())),
        "failed": [f"{each.case}: {each.failed}" for each in failed],
        "seconds": {"median": round(spread[9], 1), "p95": round(spread[-1], 1), "most": round(seconds[-1], 1)}
        if spread
        else None,
    }


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak sessions")
    parser.add_argument("--count", type=int, help="sessions (default: 500; 10 with --real-timers)")
    parser.add_argument("--parallel", type=int, help="sessions side by side (default: 2; 10 with --real-timers)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real-timers", action="store_true", help="silences longer than the client's patience")
    asked = parser.parse_args(words)
    real = asked.real_timers
    count, parallel = asked.count or (10 if real else 500), asked.parallel or (10 if real else 2)
    name, faults, patience_s = ("sessions-real-timers", SILENCES, REAL_HANG_S) if real else ("sessions", FAULTS, HANG_S)
    known = {"client": LATEST, "seed": asked.seed, "sessions": count, "parallel": parallel, "patience_s": patience_s}
    ended: list[Outcome] = []
    # What a session starts inherits this, so that Ctrl-C reaches nobody but us.
    pool = ThreadPoolExecutor(
        parallel, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, [signal.SIGINT])
    )
    running_ones = [pool.submit(outcome, case) for case in cases(count, asked.seed, faults, patience_s)]
    try:
        for each in _progress(running_ones):
            ended.append(each)
            write(name, known | summary(ended), show=len(ended) == count)
    except KeyboardInterrupt:
        print(f"interrupted: {len(ended)} of {count} sessions have ended; those under way are waited for", flush=True)
        write(name, known | {"interrupted": True} | summary(ended))
        pool.shutdown(cancel_futures=True)
    return 1 if len(ended) < count or any(each.failed for each in ended) else 0


def _progress(futures: Sequence[Future[Outcome]]) -> Iterator[Outcome]:
    for number, future in enumerate(as_completed(futures), 1):
        each = future.result()
        word = "failed" if each.failed else "complete"
        print(f"{number}/{len(futures)} {word} after {each.seconds:.1f} s, {each.case}", flush=True)
        yield each
