"""The real client on one model whose two halves run in two processes."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.proxy_process import proxy_process
from tests.processes import gone, until
from tests.requirements import require_mlx

HOSTS = '[{"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}, {"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}]'
SHORT = ("--filter-tier", "extreme", "--stub-tools")
CLIENT = ("--model", "anthropic-local/embedded", "--dangerously-skip-permissions")

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def test_a_session_on_two_ranks_of_which_nothing_is_left_afterwards(place: Place, tmp_path: Path) -> None:
    require_mlx()
    from anyclaude_lab.engine import embedded

    env = {"ANYCLAUDE_DISTRIBUTED_HOSTS": HOSTS, "MLX_MODEL_PATH": str(embedded.folder())}
    with proxy_process(tmp_path / "proxy", ["--mode", "local", *SHORT], env) as proxy:
        prompt = "Run the command `touch made.txt`"
        result = headless(LATEST, prompt, place=place, base_url=proxy.url, args=CLIENT)
        assert result.rc == 0, result
        assert (place.project / "made.txt").exists()
        ranks = [process for process in psutil.process_iter() if _is_rank(process, proxy.home)]
        assert len(ranks) == 4  # of each rank its watcher and itself
    until(lambda: all(gone(process.pid) for process in ranks), "the ranks are gone")


def _is_rank(process: psutil.Process, home: Path) -> bool:
    try:
        return "anyclaude_lab.engine.rank" in process.cmdline() and process.environ().get("HOME") == str(home)
    except psutil.Error:
        return False
