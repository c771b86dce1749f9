"""One rank of a model that is spread over several machines.

    python -m anyclaude_lab.engine.rank ORDER

ORDER is JSON: `rank`, `files` (variables that name a file, with its content), `arguments` (of mlx-lm). The process
started so only watches: mlx holds Python's lock while it waits for the other ranks, so a thread beside it could not end
it. Standard input is the tether, as in `tether.py`, through ssh as well: its end is the end of the rank. Lines of the
output tell the group that the rank has joined, that its machine is alive, and that the ranks exchange something.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from anyclaude_lab.engine.tether import end_with_keeper

RUN = "--run"
JOINED = "anyclaude: this rank has joined"
ALIVE = "anyclaude: this rank is watched"
MOVED = "anyclaude: this rank exchanges with the others"
BEAT_S = 1.0
EXCHANGES = ("all_sum", "all_max", "all_min", "all_gather", "sum_scatter", "send", "recv", "recv_like")
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def watch(order: str) -> int:
    """Start the rank, end it with the tether, or where it was stopped; its exit code."""
    rank = subprocess.Popen(
        [sys.executable, "-P", "-m", "anyclaude_lab.engine.rank", RUN, order], stdin=subprocess.PIPE
    )

    def end_with_tether() -> None:
        while os.read(0, 1):
            pass
        rank.kill()
        os._exit(0)

    threading.Thread(target=end_with_tether, name="tether", daemon=True).start()
    stopped = False
    try:
        while True:
            try:
                return rank.wait(BEAT_S)
            except subprocess.TimeoutExpired:
                say(ALIVE)
            was_stopped, stopped = stopped, psutil.Process(rank.pid).status() == psutil.STATUS_STOPPED
            if stopped and was_stopped:
                say("it was stopped (SIGSTOP), and the others wait for it")
                return 1
    finally:
        rank.kill()


def run(order: dict[str, Any]) -> None:
    """Join the others and serve with them; only rank 0 listens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)  # in the moments when the tether cannot be felt
    threading.Thread(target=end_with_keeper, name="tether", daemon=True).start()
    os.environ["MLX_RANK"] = str(order["rank"])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in order["files"].items():
            path = Path(folder, name)
            path.write_text(content, encoding="utf-8")
            os.environ[name] = str(path)
        import mlx.core as mx

        group = mx.distributed.init(strict=True)
        mx.eval(mx.distributed.all_sum(mx.array(group.rank()), stream=mx.cpu))
    say(JOINED)
    tell_of_exchanges(mx.distributed)  # not before: loading a model, which comes next, may take long
    sys.argv = ["mlx_lm", *order["arguments"]]
    runpy.run_module("mlx_lm", run_name="__main__", alter_sys=True)


def tell_of_exchanges(distributed: Any) -> None:
    """Have the functions by which ranks talk say so, at most once a `BEAT_S`: mlx-lm calls them in every step."""
    told = 0.0

    def telling(exchange: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal told
            result = exchange(*args, **more)
            if time.monotonic() - told >= BEAT_S:
                told = time.monotonic()
                say(MOVED)
            return result

        return call

    for name in EXCHANGES:
        if exchange := getattr(distributed, name, None):
            setattr(distributed, name, telling(exchange))


def say(line: str) -> None:
    """One whole line, whatever else is being written."""
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    if sys.argv[1] == RUN:
        run(json.loads(sys.argv[2]))
    else:
        sys.exit(watch(sys.argv[1]))
