"""The tiers on what the real Claude Code sends, release by release."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from anyclaude_lab.prompt.billing import remove_billing
from anyclaude_lab.prompt.tiers import BUDGETS_TOKENS, TIERS, filter_system
from anyclaude_lab.render.tokens import characters
from anyclaude_lab.wire.request import Request, text_of
from tests.e2e.claude_code import RELEASES, Place, headless
from tests.prompt.live import AGENTS, RECORDED, Recording
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import running
from tests.standins.script import reply

COUNT = cache(characters().count)
Recorded = Callable[[str], Recording]
releases = pytest.mark.parametrize("release", RECORDED)

# What a line is about that must be there at every tier, in whatever release.
PROTECTED = re.compile(
    r"working directory: |\bgit repo|platform: |os version: |shell: |today's date|current branch: |recent commits:"
    r"|security testing|defensive security|security vulnerabilities|generate or guess urls|prompt injection|prohibited"
    r"|consent or approval|hard to reverse|<pasted_content>|as private|in your final response|memory(?: system)? at `",
    re.IGNORECASE,
)


def prompts(recording: Recording) -> Iterator[Request]:
    """One request for each different system text."""
    seen = set()
    for sent in recording.sent:
        request = remove_billing(sent.request)
        if (told := text_of(request.body.get("system"))) not in seen:
            seen.add(told)
            yield request


def at_every_tier(request: Request) -> list[str]:
    return [text_of(filter_system(request, tier, COUNT).request.body.get("system")) for tier in TIERS]


@releases
def test_protected_lines_survive_every_tier(release: str, recorded: Recorded) -> None:
    found = 0
    for request in prompts(recorded(release)):
        lines = [line for line in text_of(request.body.get("system")).split("\n") if PROTECTED.search(line)]
        found += len(lines)
        for text in at_every_tier(request):
            kept = set(text.split("\n"))
            assert [line for line in lines if line not in kept] == []
    assert found > 20


@releases
def test_each_tier_is_smaller_until_nothing_may_go(release: str, recorded: Recorded) -> None:
    families = set()
    for request in prompts(recorded(release)):
        families.add(filter_system(request, "off", COUNT).family)
        texts = at_every_tier(request)
        for more, less in pairwise(texts):
            assert COUNT(less) < COUNT(more) or less == more == texts[-1], families
        for tier, budget_tokens in BUDGETS_TOKENS.items():
            done = filter_system(request, tier, COUNT)
            assert sum(row.tokens for row in done.sections if row.kept) <= budget_tokens + (
                done.budget_unmet_tokens or 0
            )
    assert families & {"full", "lean"}
    assert families & {"general", "explore", "plan"}


@releases
def test_whole_sessions_twice(release: str, recorded: Recorded) -> None:
    """A lane's system text is one text at any tier, and filtering what is filtered changes nothing."""
    for lane in recorded(release).lanes().values():
        for tier in TIERS:
            done = [filter_system(remove_billing(request), tier, COUNT).request for request in lane]
            assert all(filter_system(each, tier, COUNT).request is each for each in done)
            assert all(bool(each.system) == bool(raw.system) for each, raw in zip(done, lane, strict=True))


@releases
@pytest.mark.parametrize("tier", TIERS)
def test_system_messages_still_name_everything(release: str, tier: str, recorded: Recorded) -> None:
    named = re.compile(r"\s*- ([\w:-]+): |(\w+)\Z")
    for sent in recorded(release).sent:
        before, after = sent.request.messages, filter_system(sent.request, tier, COUNT).request.messages
        assert [m for m in before if m["role"] != "system"] == [m for m in after if m["role"] != "system"]
        for old, new in zip(before, after, strict=True):
            if old["role"] == "system":
                lines = [text_of(message["content"]).split("\n") for message in (old, new)]
                names = [[match.group() for line in each if (match := named.match(line))] for each in lines]
                assert [name for name in names[0] if name not in names[1]] == []
                assert [line for line in lines[0] if PROTECTED.search(line) and line not in lines[1]] == []


def test_every_kind_of_agent_was_there(recorded: Recorded) -> None:
    families = {filter_system(r, "off", COUNT).family for release in RECORDED for r in prompts(recorded(release))}
    assert {*map(str.lower, AGENTS)} & families == {"explore", "plan"}
    assert {"full", "lean", "general", "compaction", "helper"} <= families


# What the user tells the client to say is the user's, with whatever headings.

APPENDED = """Name a pelican in every answer.

# Code style

Indent by seven spaces.

# Tone and style

- Rhyme."""
OWN = "You review poems.\n\n# Tone and style\nAnswer in rhymes.\n\n# Doing tasks\n- Read aloud."


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place.fresh(tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=place.project, check=True, timeout=20)
    return place


def asked_with(release: str, place: Place, *args: str) -> Request:
    """The main request of a session that was started with these arguments."""
    with running(AnthropicStandIn(lambda _: reply("Done."))) as server:
        result = headless(release, "Hello.", place=place, base_url=server.url, args=args)
        assert result.rc == 0, result
    return next(remove_billing(Request(sent.json)) for sent in server.messages if len(sent.json.get("tools") or ()) > 3)


@pytest.mark.parametrize("model", ["local/model", "claude-sonnet-4-5"])
@pytest.mark.parametrize("release", RELEASES)
def test_what_the_user_appends_stays_word_for_word(release: str, model: str, place: Place) -> None:
    request = asked_with(release, place, "--model", model, "--append-system-prompt", APPENDED)
    texts = at_every_tier(request)
    assert [APPENDED in text for text in texts] == [True] * len(TIERS)
    assert COUNT(texts[-1]) < COUNT(texts[0]) / 2


@pytest.mark.parametrize("release", RELEASES)
def test_a_system_prompt_of_the_users_own_is_not_touched(release: str, place: Place) -> None:
    request = asked_with(release, place, "--system-prompt", OWN)
    assert OWN in text_of(request.body["system"])
    for tier in TIERS:
        done = filter_system(request, tier, COUNT)
        assert done.family == "sdk"
        assert done.request.system == request.system
