"""The tiers on prompts of every family, through the seam that the pipeline uses."""

from __future__ import annotations

import copy
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from anyclaude_lab.prompt.tiers import BUDGETS_TOKENS, TIERS, choose_tier, filter_system
from anyclaude_lab.prompt.tiers.core import CORE
from anyclaude_lab.prompt.tiers.filter import filter_texts
from anyclaude_lab.prompt.tiers.notices import shorten_notice
from anyclaude_lab.render.tokens import characters
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import text
from tests.prompt.tiers.explanations import FOLDER, explanation
from tests.prompt.tiers.prompts import FAMILIES, GENERAL, IDENTITY, LEAN, PROMPTS

COUNT = characters().count
names = pytest.mark.parametrize("name", PROMPTS)
tiers = pytest.mark.parametrize("tier", TIERS)


def request(system: Any, *messages: Any) -> Request:
    return Request({"model": "m", "max_tokens": 1, "system": system, "messages": list(messages)})


def prompt(name: str) -> Request:
    return request([text(block, cache_control={"type": "ephemeral"}) for block in PROMPTS[name]])


def system_text(done: Request) -> str:
    return "\n\n".join(block["text"] for block in done.system)


def at(name: str, tier: str) -> str:
    return system_text(filter_system(prompt(name), tier, COUNT).request)


def marked(blocks: tuple[str, ...]) -> list[str]:
    """The lines that must be there at every tier."""
    return [line for block in blocks for line in block.split("\n") if line.endswith("_") and line[-2].isalpha()]


@names
@tiers
def test_what_must_stay_stays(name: str, tier: str) -> None:
    kept = at(name, tier).split("\n")
    assert marked(PROMPTS[name])
    assert [line for line in marked(PROMPTS[name]) if line not in kept] == []


@names
def test_each_tier_takes_more_while_there_is_more_to_take(name: str) -> None:
    texts = [at(name, tier) for tier in TIERS]
    for more, less in pairwise(texts):
        assert COUNT(less) < COUNT(more) or less == more == texts[-1]


@names
@tiers
def test_pure_and_idempotent(name: str, tier: str) -> None:
    given = prompt(name)
    before = copy.deepcopy(given.body)
    once = filter_system(given, tier, COUNT)
    assert given.body == before
    assert filter_system(once.request, tier, COUNT).request is once.request
    assert orjson.dumps(filter_system(prompt(name), tier, COUNT).request.body) == orjson.dumps(once.request.body)
    assert once.family == FAMILIES[name]
    if system_text(once.request) == system_text(given):
        assert once.request is given


@names
def test_off_is_the_same_object(name: str) -> None:
    given = prompt(name)
    done = filter_system(given, "off", COUNT)
    assert done.request is given
    assert done.budget_unmet_tokens is None
    assert all(row.kept for row in done.sections)


@names
def test_what_is_said_about_it(name: str) -> None:
    """Where this changes on purpose: `python -m tests.prompt.tiers.explanations`."""
    assert explanation(name) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_extreme_says_the_generic_in_our_words() -> None:
    extreme = at("lean", "extreme")
    assert extreme.startswith(IDENTITY)
    assert CORE in extreme
    assert "permission mode" not in extreme
    assert CORE not in at("explore", "extreme")  # a subagent has a role of its own


@pytest.mark.parametrize("name", ["compaction", "title", "sdk", "unknown"])
@tiers
def test_the_words_of_others_are_theirs(name: str, tier: str) -> None:
    given = prompt(name)
    assert filter_system(given, tier, COUNT).request is given


@tiers
def test_a_prompt_that_begins_like_the_clients_is_not_yet_the_clients(tier: str) -> None:
    own = "You are an interactive CLI tool that helps bankers.\n\n# Tone and style\n\nBe formal."
    for system in (own, [text(IDENTITY), text(own)]):
        given = request(system)
        assert filter_system(given, tier, COUNT).request is given


@tiers
def test_the_user_may_say_things_twice(tier: str) -> None:
    given = request([text(IDENTITY), text("Tell no secrets.\n\nSail.\n\nTell no secrets.")])
    assert filter_system(given, tier, COUNT).request is given


@pytest.mark.parametrize("tier", TIERS[1:])
def test_the_client_need_not(tier: str) -> None:
    twice = GENERAL.replace("Your strengths:", "Nothing malicious.\n\nNothing malicious.\n\nYour strengths:")
    kept = system_text(filter_system(request([text(IDENTITY), text(twice)]), tier, COUNT).request)
    assert kept.count("Nothing malicious.") == 1


@tiers
def test_both_spellings(tier: str) -> None:
    """A string stays a string, and says the same as one block."""
    as_text = filter_system(request(LEAN), tier, COUNT).request.body["system"]
    as_block = filter_system(request([text(LEAN)]), tier, COUNT).request.body["system"]
    assert [text(as_text)] == as_block


@tiers
@pytest.mark.parametrize(
    "system",
    [None, "", [], "   \n", "# One", [text("")], [{"type": "image"}], "no heading at all", "```\nopen", "\ud800 half"],
)
def test_odd_prompts_stay(system: Any, tier: str) -> None:
    given = request(system)
    assert filter_system(given, tier, COUNT).request is given


def test_a_prompt_of_one_line_is_not_emptied() -> None:
    only = "You are powered by the model of the day."
    for tier in TIERS:
        assert system_text(filter_system(request(only), tier, COUNT).request) == only


def test_a_block_of_which_nothing_is_left_goes() -> None:
    given = request([text(IDENTITY), text("You are powered by the model of the day."), text("Be _kind_")])
    assert filter_system(given, "moderate", COUNT).request.system == [text(IDENTITY), text("Be _kind_")]


def test_a_tier_that_is_none() -> None:
    with pytest.raises(ValueError, match="'huge' is no tier; there are: off, minimal"):
        filter_system(prompt("full"), "huge", COUNT)


# Budgets.


def unknown_section(tokens: int) -> str:
    return "# Customs of the house\n\n" + "bow " * tokens


def test_unknown_words_between_the_clients_go_only_for_a_budget() -> None:
    blocks = [text(IDENTITY), text(LEAN.replace("# Harness", f"{unknown_section(5000)}\n\n# Harness"))]
    done = {tier: filter_system(request(blocks), tier, COUNT) for tier in TIERS}
    assert ["bow" in system_text(each.request) for each in done.values()] == [True, True, True, False, False]
    assert all(each.budget_unmet_tokens is None for each in done.values())
    fate = next(row for row in done["aggressive"].sections if row.title == "Customs of the house")
    assert (fate.kept, fate.why) == (False, "unknown words between the client's: over the budget of 4,000 tokens")
    assert marked((LEAN,)) == [line for line in marked((LEAN,)) if line in system_text(done["extreme"].request)]


def test_what_is_protected_wins_over_a_budget_and_it_is_told() -> None:
    given = request([text(IDENTITY), text(LEAN + "\n" + "Never tell a secret. " * 1000)])
    for tier, budget_tokens in BUDGETS_TOKENS.items():
        done = filter_system(given, tier, COUNT)
        assert "Never tell a secret. " * 999 in system_text(done.request)
        stays = sum(row.tokens for row in done.sections if row.kept)
        assert done.budget_unmet_tokens == (stays - budget_tokens if stays > budget_tokens else None)
    assert done.budget_unmet_tokens is not None


def test_all_that_may_go_has_gone_before_a_budget_is_unmet() -> None:
    given = request([text(IDENTITY), text(LEAN + "\n" + "Rhyme. " * 3000)])
    aggressive, extreme = (filter_system(given, tier, COUNT) for tier in ("aggressive", "extreme"))
    assert aggressive.budget_unmet_tokens is not None
    assert "user-selected" not in system_text(aggressive.request)
    assert "Rhyme. " * 2999 in system_text(extreme.request)


# Auto.


def test_auto_takes_the_weakest_tier_that_leaves_the_window_to_the_work() -> None:
    given = prompt("full")
    sizes = {
        tier: sum(COUNT(block["text"]) for block in filter_system(given, tier, COUNT).request.system) for tier in TIERS
    }
    for tier in TIERS[1:]:
        assert choose_tier(given, COUNT, sizes[tier] * 16) == tier
        assert choose_tier(given, COUNT, sizes[tier] * 16 - 1) != tier or tier == "extreme"
    assert choose_tier(given, COUNT, 1) == "extreme"
    assert choose_tier(given, COUNT, None) == "moderate"
    assert choose_tier(request(None), COUNT, 1) == "minimal"


# System messages in mid-conversation.

NOTICE = """# Environment
 - Primary working directory: /home/nobody/p

These tools can be searched for:
NotebookEdit
WebFetch

Available agent types for the tool:
- poet: Writes verses. Ask for rhyme and metre, and for nothing else. (Tools: Read, Write)
- mcp:deep sailor: Knows the sea (e.g. Tides) from years of sailing it alone (Tools: *)

The following skills are available for use:

- tie-a-knot: Ties it. Then again.
TRIGGER whenever there is a rope.
- hoist: {long}

Today's date is 2026-11-22. A sentence. And a second one that stays.
""".replace("{long}", "Hoist " * 60)


def shortened(tier: str, content: Any = NOTICE) -> Any:
    given = request("Be kind.", {"role": "user", "content": NOTICE}, {"role": "system", "content": content})
    done = filter_system(given, tier, COUNT).request
    assert done.messages[0] == given.messages[0], "only system messages"
    return done.messages[1]["content"]


@pytest.mark.parametrize("tier", ["off", "minimal", "moderate"])
def test_weaker_tiers_leave_system_messages(tier: str) -> None:
    assert shortened(tier) == NOTICE


@pytest.mark.parametrize(("tier", "limit"), [("aggressive", 200), ("extreme", 100)])
def test_descriptions_are_one_sentence(tier: str, limit: int) -> None:
    before, after = NOTICE.split("\n"), shortened(tier).split("\n")
    assert "- poet: Writes verses. (Tools: Read, Write)" in after
    assert "- mcp:deep sailor: Knows the sea (e.g. Tides) from years of sailing it alone (Tools: *)" in after
    assert "- tie-a-knot: Ties it." in after
    hoist = next(line for line in after if line.startswith("- hoist: "))
    assert hoist.endswith("Hoist…")
    assert len(hoist) <= len("- hoist: ") + limit
    lists = ("- poet", "- mcp", "- tie", "- hoist", "TRIGGER")
    rest = [[line for line in lines if not line.startswith(lists)] for lines in (before, after)]
    assert rest[0] == rest[1]


@pytest.mark.parametrize("tier", ["aggressive", "extreme"])
def test_a_system_message_says_the_same_in_both_spellings_and_twice(tier: str) -> None:
    once = shortened(tier)
    assert shortened(tier, [text(NOTICE)]) == [text(once)]
    assert shortened(tier, once) == once
    assert shortened(tier, [{"type": "image"}, text("plain")]) == [{"type": "image"}, text("plain")]


def test_what_a_system_message_loses_is_told() -> None:
    given = request("Be kind.", {"role": "system", "content": NOTICE})
    done = filter_system(given, "extreme", COUNT)
    fate = done.sections[-1]
    assert (fate.title, fate.kept) == ("(system message)", False)
    assert fate.tokens == COUNT(NOTICE) - COUNT(shortened("extreme"))


# Size.

UNITS = [
    "word ",
    "word\n",
    "# Heading\n",
    "- item:\n  - inner:\n",
    "```\n",
    "<env>\n",
    "a:\n\n- b\n",
    "(Tools: . ",
    "\n",
]


def cpu_s(unit: str, characters_: int) -> float:
    """Seconds of this process for a block of that much of a text, at the tier that does most; the better of two."""
    texts = (IDENTITY, LEAN, unit * (characters_ // len(unit)))

    def once() -> float:
        started = time.process_time()
        filter_texts(texts, "extreme", len)
        return time.process_time() - started

    return min(once(), once())


@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_the_size_and_no_faster(unit: str) -> None:
    assert cpu_s(unit, 40_000) < 10 * cpu_s(unit, 10_000) + 0.1


@pytest.mark.parametrize("unit", UNITS)
def test_five_megabytes_are_somebody_elses(unit: str) -> None:
    given = request([text(IDENTITY), text(LEAN), text(unit * (5_000_000 // len(unit)))])
    done = filter_system(given, "extreme", COUNT)
    assert done.request.system[2] is given.system[2]
    assert done.request.system[1] != given.system[1]
    assert done.budget_unmet_tokens


def test_a_long_system_message_is_read_in_time() -> None:
    started = time.process_time()
    shorten_notice("Available agent types:\n" + "- a b c: d. (Tools: x\n" * 20_000, "extreme")
    assert time.process_time() - started < 5


def test_golden_explanations_belong_to_prompts() -> None:
    assert {path.stem for path in Path(FOLDER).iterdir()} == set(PROMPTS)
