"""One rank of a model that is spread over several machines.

    python -m anyclaude_lab.engine.rank ORDER

ORDER is JSON: `rank`, `files` (variables that name a file, with its content), `arguments` (of mlx-lm). The process
started so only watches: mlx holds Python's lock while it waits for the other ranks, so a thread beside it could not end
it. Standard input is the tether, as in `tether.py`, through ssh as well: its end is the end of the rank.
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
from pathlib import Path
from typing import Any

from anyclaude_lab.engine.tether import end_with_keeper

RUN = "--run"
JOINED = "anyclaude: this rank has joined"  # a line of its output
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def watch(order: str) -> int:
    """Start the rank, end it with the tether; its exit code."""
    rank = subprocess.Popen(
        [sys.executable, "-P", "-m", "anyclaude_lab.engine.rank", RUN, order], stdin=subprocess.PIPE
    )

    def end_with_tether() -> None:
        while os.read(0, 1):
            pass
        rank.kill()
        os._exit(0)

    threading.Thread(target=end_with_tether, name="tether", daemon=True).start()
    try:
        return rank.wait()
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
    print(JOINED, flush=True)
    sys.argv = ["mlx_lm", *order["arguments"]]
    runpy.run_module("mlx_lm", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1] == RUN:
        run(json.loads(sys.argv[2]))
    else:
        sys.exit(watch(sys.argv[1]))
