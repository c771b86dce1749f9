"""The real client on our engine: subagent, side calls and a compaction, and its own prompt is computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.claude_code import LATEST, Place, Terminal, headless
from tests.e2e.proxy_process import Proxy, proxy_process
from tests.processes import until
from tests.requirements import require_mlx, require_tmux

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

CLIENT = ("--model", "anthropic-local/embedded", "--dangerously-skip-permissions")
SHORT = ("--filter-tier", "extreme", "--stub-tools")  # a prompt of 3,000 tokens rather than 15,000
# The harness keeps the client from asking for anything beside the conversation; here only the model can be reached.
NOWHERE = "http://127.0.0.1:9"
TALKATIVE = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "",
    "DISABLE_TELEMETRY": "1",
    "HTTPS_PROXY": NOWHERE,
    "HTTP_PROXY": NOWHERE,
    "NO_PROXY": "127.0.0.1",
}
SKILL = """\
---
name: harbor
description: Looks at the harbor.
context: fork
agent: general-purpose
---
Run the command `touch forked.txt`
"""


def engine_metrics(proxy: Proxy) -> dict[str, Any]:
    """Of the engine behind the proxy, which tells its address."""
    url = httpx.get(f"{proxy.direct_url}/v1/metrics", timeout=60).json()["backend"]["url"]
    told: dict[str, Any] = httpx.get(f"{url.removesuffix('/v1')}/metrics", timeout=60).json()
    return told


def ask(prompt: str, place: Place, proxy: Proxy, *args: str) -> None:
    result = headless(LATEST, prompt, place=place, base_url=proxy.url, args=(*CLIENT, *args))
    assert result.rc == 0, result


def ask_in_a_terminal(place: Place, proxy: Proxy) -> None:
    """Where the client asks for a title beside the conversation."""
    with Terminal(LATEST, place, proxy.url, args=CLIENT, env=TALKATIVE) as terminal:
        terminal.wait_for("bypass permissions")
        terminal.send("Run the command `touch shown.txt`", enter=False)
        terminal.keys("Enter")
        terminal.wait_for("I took the steps")
        until(lambda: engine_metrics(proxy)["memory"]["entries"]["side"] > 0, "the title is there")


def test_no_conversation_is_ever_computed_again(place: Place, tmp_path: Path) -> None:
    require_mlx()
    require_tmux()
    skill = place.project / ".claude" / "skills" / "harbor" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text(SKILL)
    with proxy_process(tmp_path, ["--mode", "local", *SHORT], {}) as proxy:
        ask("Run the command `touch made.txt`", place, proxy)
        ask("/harbor", place, proxy, "--continue")
        ask("/compact", place, proxy, "--continue")
        ask("Run the command `touch last.txt`", place, proxy, "--continue")
        ask_in_a_terminal(place, proxy)
        told = engine_metrics(proxy)
    lanes = told["requests"]["lanes"]
    assert {name: lane["recomputed_tokens"] for name, lane in lanes.items()} == dict.fromkeys(lanes, 0)
    asked = sorted((lane["requests"] for lane in lanes.values()), reverse=True)
    assert len(asked) == 4, "the conversation, a subagent, one in a terminal and its title"
    assert asked[0] >= 4, "two commands, the compaction and what came of them"
    assert told["memory"]["entries"]["side"] == 1
    assert told["memory"]["dropped_for_room"] == 0
