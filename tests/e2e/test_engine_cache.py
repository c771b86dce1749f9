"""The real client on our engine: subagent, side calls and a compaction, and its own prompt is computed once."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.proxy_process import Proxy, proxy_process
from tests.requirements import require_mlx
from tests.standins.tap import Passed

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

CLIENT = ("--model", "anthropic-local/embedded", "--dangerously-skip-permissions")
SHORT = ("--filter-tier", "extreme", "--stub-tools")  # a prompt of 3,000 tokens rather than 15,000
SLACK_TOKENS = 16  # brackets that close a call may be other tokens when they are read again
SKILL = """\
---
name: harbor
description: Looks at the harbor.
context: fork
agent: general-purpose
---
Run the command `touch forked.txt`
"""


def usage(passed: Passed) -> tuple[int, int]:
    """Prompt tokens, and those of them that were not computed again."""
    found: dict[str, int] = {}
    for data in re.findall(rb"^data: (\{.*\})$", passed.body, re.MULTILINE):
        event = json.loads(data)
        found |= event.get("usage") or event.get("message", {}).get("usage") or {}
    cached = found["cache_read_input_tokens"]
    return found["input_tokens"] + found["cache_creation_input_tokens"] + cached, cached


def text(passed: Passed) -> str:
    return json.dumps(json.loads(passed.request_body)["messages"])


def tools(passed: Passed) -> list[str]:
    """What tells the conversations of one session apart: the subagent has fewer."""
    return [tool["name"] for tool in json.loads(passed.request_body).get("tools", ())]


def ask(prompt: str, place: Place, proxy: Proxy, *args: str) -> None:
    result = headless(LATEST, prompt, place=place, base_url=proxy.url, args=(*CLIENT, *args), timeout=100)
    assert result.rc == 0, result


def test_the_main_conversation_is_never_computed_again(place: Place, tmp_path: Path) -> None:
    require_mlx()
    skill = place.project / ".claude" / "skills" / "harbor" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text(SKILL)
    with proxy_process(tmp_path, ["--mode", "local", *SHORT], {}) as proxy:
        ask("Run the command `touch made.txt`", place, proxy)
        ask("/harbor", place, proxy, "--continue")
        ask("Run the command `touch more.txt`", place, proxy, "--continue")
        ask("/compact", place, proxy, "--continue")
        ask("Run the command `touch last.txt`", place, proxy, "--continue")
        asked = [passed for passed in proxy.messages if passed.is_stream and passed.status == 200]
    main = [passed for passed in asked if tools(passed) == tools(asked[0])]
    assert len(asked) > len(main), "the skill ran in a subagent"
    lost = []
    for earlier, later in pairwise(main):
        grows = len(text(later)) > len(text(earlier))
        if grows and usage(later)[1] < usage(earlier)[0] - SLACK_TOKENS:
            lost.append((usage(earlier), usage(later)))
    assert lost == []
    shrunk = next(later for earlier, later in pairwise(main) if len(text(later)) < len(text(earlier)))
    assert usage(shrunk)[1] > usage(shrunk)[0] / 2, "behind the compaction the head is still there"
