"""Work on tools that is done once: never for another list, whatever comes and goes."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import parse_request
from anyclaude_lab.wire.same import KEPT, once, one_of

names = st.lists(st.integers(0, 2 * KEPT), min_size=1, max_size=3 * KEPT)


@once
def told(tools: list[JsonObject], behind: str = "") -> str:
    return ",".join(str(tool["name"]) for tool in tools) + behind


@given(names)
def test_every_list_is_answered_for_itself(numbers: list[int]) -> None:
    for number in numbers:
        for behind in ("", "!"):
            assert told(one_of([{"name": number}]), behind) == f"{number}{behind}"
            assert told([{"name": number}], behind) == f"{number}{behind}"  # an id may be used again


def test_it_is_done_once_while_the_list_is_the_same() -> None:
    asked: list[int] = []
    work = once(lambda tools: asked.append(len(tools)))
    for _ in range(3):
        work(one_of([{"name": "Bash"}]))
    assert asked == [1]


def test_lists_that_differ_in_a_type_stay_apart() -> None:
    """`1 == True == 1.0` in Python, not in JSON."""
    kept = [one_of([{"default": value}])[0]["default"] for value in (1, True, 1.0, "1")]
    assert list(map(type, kept)) == [int, bool, float, str]


def test_requests_with_the_same_tools_share_them() -> None:
    said = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "?"}], "tools": [{"name": "Read"}]}
    first, second = (parse_request(orjson.dumps(said)) for _ in range(2))
    assert first.body["tools"] is second.body["tools"]
