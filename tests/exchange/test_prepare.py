"""From a client's request to what is sent: the lane's state, and a history that does not fit."""

from __future__ import annotations

from typing import Any, cast

import pytest

from anyclaude_lab.backends.base import Backend, Call, Reply
from anyclaude_lab.errors import BackendTimeout, PromptTooLong
from anyclaude_lab.exchange import Variant, prepare
from anyclaude_lab.exchange.count import PromptCounter
from anyclaude_lab.exchange.lanes import Lanes
from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.pipeline import Plan
from anyclaude_lab.wire.events import JsonObject, Usage
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import call, result, text

WINDOW_TOKENS = 8000
SUMMARY = {"role": "user", "content": "Your task is to create a detailed summary of the conversation so far."}


class Silent:
    """A backend that counts nothing and answers nobody."""

    name = "silent"

    async def count(self, request: Request) -> None:
        return None

    async def window_tokens(self) -> int:
        return WINDOW_TOKENS

    async def send(self, request: Request, call: Call) -> Reply:
        raise BackendTimeout("It sent nothing.")


@pytest.fixture
def variant() -> Variant:
    backend = cast(Backend, Silent())
    return Variant("v", backend, Plan(tier="auto"), PromptCounter(backend))


def history(turns: int, *more: JsonObject) -> Request:
    """About 1,000 tokens a turn."""
    messages: list[JsonObject] = [{"role": "user", "content": "Do it."}]
    for number in range(turns):
        messages += [call(f"t{number}", "Bash", {}), result(f"t{number}", "r" * 3300)]
    return Request({"model": "m", "max_tokens": 100, "system": "Help.", "messages": [*messages, *more]})


async def sent(variant: Variant, request: Request, lane: str = "lane") -> Request:
    return (await prepare(variant, Call("1", lane, request))).sent


def results(request: Request) -> list[Any]:
    blocks = [block for message in request.messages for block in message["content"]]
    return [block for block in blocks if block["type"] == "tool_result"]


async def test_the_client_is_told_first(variant: Variant) -> None:
    await sent(variant, history(3))
    with pytest.raises(PromptTooLong, match=r"prompt is too long: \d+ tokens > 7900 maximum"):
        await sent(variant, history(9))


async def test_one_that_comes_back_without_having_compacted_is_cut(variant: Variant) -> None:
    with pytest.raises(PromptTooLong):
        await sent(variant, history(9))
    cut = await sent(variant, history(9))
    assert len(results(cut)) == 9 and "removed to save room" in str(results(cut)[0])
    assert results(cut)[-1]["content"] == [text("r" * 3300)]
    longer = await sent(variant, history(10))
    assert longer.messages[: len(cut.messages)] == cut.messages


async def test_one_that_has_compacted_is_told_again(variant: Variant) -> None:
    for _ in range(2):
        with pytest.raises(PromptTooLong):
            await sent(variant, history(9))
        await sent(variant, history(1))


async def test_a_request_for_the_summary_is_cut_at_once(variant: Variant) -> None:
    cut = await sent(variant, history(9, SUMMARY))
    assert cut.messages[-1]["content"] == [text(SUMMARY["content"])]
    assert "removed to save room" in str(cut.messages)


async def test_what_no_cut_can_save_is_refused(variant: Variant) -> None:
    alone = Request({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x" * 60_000}]})
    for _ in range(2):
        with pytest.raises(PromptTooLong):
            await sent(variant, alone)


async def test_a_lane_keeps_what_it_decided(variant: Variant) -> None:
    await sent(variant, history(1))
    assert variant.lanes.get("lane") == LaneState(tier="minimal")
    variant.lanes.keep("lane", LaneState(tier="extreme"))
    await sent(variant, history(2))
    assert variant.lanes.get("lane") == LaneState(tier="extreme")
    await sent(variant, history(1), lane="other")
    assert variant.lanes.get("other") == LaneState(tier="minimal")


async def test_time_limits_are_for_what_has_to_be_computed(variant: Variant) -> None:
    async def computed(turns: int) -> tuple[int | None, int | None]:
        asked = (await prepare(variant, Call("1", "lane", history(turns)))).call
        return asked.computed_tokens, asked.prompt_tokens

    variant.lanes.answered("lane", Usage(prompt_tokens=2000, cached_tokens=None))
    new, whole = await computed(5)
    assert new == whole  # nobody said that anything is cached
    variant.lanes.answered("lane", Usage(prompt_tokens=2000, cached_tokens=500))
    new, whole = await computed(5)
    assert whole is not None and new == whole - 2000
    new, whole = await computed(0)
    assert new == whole  # a shorter history is another one
    variant.lanes.answered("lane", Usage(prompt_tokens=2000, cached_tokens=0))
    new, whole = await computed(5)
    assert new == whole  # the cache was lost


async def test_a_backend_that_was_silent_is_given_the_time_of_a_lost_cache(variant: Variant) -> None:
    variant.lanes.answered("lane", Usage(prompt_tokens=2000, cached_tokens=500))
    exchange = await prepare(variant, Call("1", "lane", history(5)))
    with pytest.raises(BackendTimeout):
        await exchange.open()
    asked = (await prepare(variant, Call("2", "lane", history(5)))).call
    assert asked.computed_tokens == asked.prompt_tokens


def test_lanes_are_bounded_and_the_busy_ones_stay() -> None:
    lanes = Lanes(limit=3)
    for name in "abc":
        lanes.keep(name, LaneState(tier=name))
    lanes.get("a")
    lanes.keep("d", LaneState())
    assert len(lanes) == 3
    assert lanes.get("b") is None
    assert lanes.get("a") == LaneState(tier="a")


def test_a_state_is_a_json_value() -> None:
    state = LaneState("minimal", ("mcp__a", "mcp__b"), True)
    assert LaneState.from_json(state.as_json()) == state
    assert LaneState.from_json({"of another version": 1}) == LaneState()
