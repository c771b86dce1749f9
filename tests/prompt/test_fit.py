"""Cutting a history that has outgrown the window."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.prompt.deferred import definition_text
from anyclaude_lab.prompt.fit import GAP, LOW_WATER, fit, is_compaction
from anyclaude_lab.prompt.sections import measured
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks
from tests.prompt.conversations import call, result, text, tool, web_fetch

BUDGET = 4000  # characters stand for tokens


def grown(*sizes: int, said_at: int | None = None) -> Request:
    """A task and one exchange after the other, with results of these sizes; the user speaks behind one of them."""
    messages: list[JsonObject] = [{"role": "user", "content": [text("Do the work.")]}]
    for number, size in enumerate(sizes):
        messages += [call(f"t{number}", "Bash", {"command": "x"}), result(f"t{number}", [text("r" * size)])]
        if number == said_at:
            messages.append({"role": "user", "content": [text("And mind the gap.")]})
    return Request({"model": "m", "system": [text("Be brief.")], "tools": [tool("Bash")], "messages": messages})


def cut(request: Request, budget: int = BUDGET) -> Request:
    before = copy.deepcopy(request.body)
    done = fit(request, len, budget)
    assert request.body == before
    return done


def ids(request: Request, kind: str, key: str) -> list[str]:
    blocks = (block for message in request.messages for block in as_blocks(message["content"]))
    return [block[key] for block in blocks if block["type"] == kind]


def shown(request: Request, identifier: str) -> str:
    """The text of one result."""
    blocks = (block for message in request.messages for block in as_blocks(message["content"]))
    found = next(block for block in blocks if block.get("tool_use_id") == identifier)
    return str(found["content"][0]["text"])


def test_what_fits_is_the_same_object() -> None:
    request = grown(500, 500)
    assert cut(request) is request


def test_oldest_results_go_first_and_far_enough_for_many_turns() -> None:
    done = cut(grown(1000, 1000, 1000, 1000))
    assert measured(done, len).total <= BUDGET * LOW_WATER
    assert "1000 tokens was removed" in shown(done, "t0")
    assert shown(done, "t3") == "r" * 1000
    assert ids(done, "tool_use", "id") == ids(done, "tool_result", "tool_use_id") == ["t0", "t1", "t2", "t3"]


def test_then_whole_exchanges_go() -> None:
    done = cut(grown(*[90] * 40))
    assert measured(done, len).total <= BUDGET
    kept = ids(done, "tool_use", "id")
    assert kept == ids(done, "tool_result", "tool_use_id")
    assert kept[-1] == "t39" and "t0" not in kept
    assert done.messages[0] == grown(1).messages[0]
    assert done.messages[1]["content"] == [text(GAP)]


def test_the_newest_exchange_and_the_users_last_words_stay() -> None:
    done = cut(grown(*[90] * 30, said_at=2), budget=600)
    texts = [block.get("text") for message in done.messages for block in message["content"]]
    assert "Do the work." in texts and "And mind the gap." in texts
    assert ids(done, "tool_use", "id") == ["t2", "t29"]


def test_nothing_to_cut_is_left_alone() -> None:
    request = grown(9000)
    assert cut(request) is request


def test_a_loaded_tool_keeps_its_definition() -> None:
    request = grown(*[90] * 40)
    messages = request.messages
    messages[2] = result("t0", [text(definition_text("WebFetch", web_fetch()))])
    done = cut(request.with_(messages=messages), budget=1200)
    assert "Reads a page." in shown(done, "t0")


sizes = st.lists(st.sampled_from([50, 90, 150, 700, 2500]), min_size=1, max_size=30)


@given(sizes, st.one_of(st.none(), st.integers(0, 29)))
def test_a_cut_is_where_it_was(sizes: list[int], said_at: int | None) -> None:
    """While what the cuts have left has room for what is new, the next request only adds to the last."""
    requests = [grown(*sizes[:number], said_at=said_at) for number in range(1, len(sizes) + 1)]
    done = [cut(request) for request in requests]
    for (before, older), (after, newer) in pairwise(zip(requests, done, strict=True)):
        added = after.messages[len(before.messages) :]
        expected = older.with_(messages=[*older.messages, *added])
        if measured(expected, len).total <= BUDGET:
            assert newer.messages == expected.messages
        assert ids(newer, "tool_use", "id") == ids(newer, "tool_result", "tool_use_id")
        assert newer.messages[0] == requests[0].messages[0]


@given(sizes)
def test_what_was_cut_is_not_cut_again(sizes: list[int]) -> None:
    once = cut(grown(*sizes))
    if measured(once, len).total <= BUDGET:
        assert cut(once) is once


def compacting(words: Any) -> Request:
    return grown(1).with_(messages=[*grown(1).messages, {"role": "user", "content": words}])


@pytest.mark.parametrize("spelled", [str, lambda words: [text(words)]])
def test_a_request_for_a_summary_is_known(spelled: Any) -> None:
    assert is_compaction(compacting(spelled("Your task is to create a detailed summary of the conversation so far.")))
    assert not is_compaction(compacting(spelled("Summarise the file.")))
    assert not is_compaction(grown(1))
