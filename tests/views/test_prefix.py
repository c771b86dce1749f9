"""What of a prompt is no longer the one before it: said by its parts, in no word of the prompt itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.views.prefix import first_change, outline
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

READ: JsonObject = {"name": "Read", "input_schema": {"type": "object"}}
BASH: JsonObject = {"name": "Bash", "input_schema": {"type": "object"}}
MARK = {"cache_control": {"type": "ephemeral"}}


def user(text: str, **more: object) -> JsonObject:
    return {"role": "user", "content": [{"type": "text", "text": text, **more}]}


def prompt(*messages: JsonObject, system: object = "Be brief.", tools: object = (READ,)) -> Request:
    return Request({"model": "m", "max_tokens": 9, "system": system, "messages": list(messages), "tools": list(tools)})  # type: ignore[call-overload]  # tools are given as a tuple


A, B, C = user("a"), user("b"), user("c")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (prompt(A), prompt(A), None),
        (prompt(A), prompt(A, B), None),
        (prompt(A, B), prompt(A, C, B), "the history changed (message 2 of 2)"),
        (prompt(A, B, C), prompt(B), "the history was cut from 3 to 1 messages"),
        (prompt(A), prompt(A, system="Be long."), "the system prompt changed (part 1 of 1)"),
        (prompt(A), prompt(A, tools=(READ, BASH)), "tools changed (Bash added)"),
        (prompt(A, tools=(READ, BASH)), prompt(A, tools=(BASH,)), "tools changed (Read removed)"),
        (prompt(A), prompt(A, tools=({**READ, "description": "x"},)), "tools changed (Read redefined)"),
        (prompt(A, tools=(READ, BASH)), prompt(A, tools=(BASH, READ)), "tools changed (another order)"),
        (
            prompt(A, tools=()),
            prompt(A, tools=tuple({"name": f"t{n}"} for n in range(5))),
            "tools changed (t0, t1, t2 and 2 more added)",
        ),
    ],
)
def test_the_first_change_is_named(before: Request, after: Request, said: str | None) -> None:
    assert first_change(outline(before), outline(after)) == said


def test_what_does_not_reach_the_model_is_no_change() -> None:
    billed = [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=0a1;"}]
    rest = [{"type": "text", "text": "Be brief."}]
    before = prompt(user("a", **MARK), system=[*billed, *rest], tools=({**READ, **MARK},))
    after = prompt(A, user("b", **MARK), system=rest)
    assert first_change(outline(before), outline(after)) is None


MESSAGES = st.lists(st.sampled_from("abc").map(user), max_size=6)


@given(MESSAGES, MESSAGES)
def test_a_change_is_seen_exactly_where_the_later_prompt_does_not_continue_the_earlier(
    first: list[JsonObject], then: list[JsonObject]
) -> None:
    change = first_change(outline(prompt(*first)), outline(prompt(*then)))
    assert (change is None) == (then[: len(first)] == first)
