"""Work that is done once: never for another list or message, whatever comes and goes."""

from __future__ import annotations

import operator
import pickle

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.recent import Recent
from anyclaude_lab.wire.request import Request, parse_request
from anyclaude_lab.wire.same import KEPT, each, once, one_message, one_of

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


CONTENTS: list[object] = ["", "1", 1, 1.0, True, None, [], (), {}, {"a": 1}, {"a": True}, "\ud800", 2**70, {1: 2}]


@each
def spelled(message: JsonObject) -> JsonObject:
    return {**message, "said": repr(message["content"])}


@each
def length(message: JsonObject) -> int:
    return len(message["said"])


@given(st.lists(st.sampled_from(CONTENTS), min_size=1, max_size=30))
def test_every_message_is_answered_for_its_content_to_the_letter(said: list[object]) -> None:
    for content in said:
        answer = spelled(one_message({"content": content}))
        assert answer["said"] == repr(content)
        assert length(answer) == length(dict(answer)) == len(repr(content))


def test_messages_of_one_content_become_one_and_are_worked_on_once() -> None:
    asked: list[JsonObject] = []

    @each
    def spell(message: JsonObject) -> JsonObject:
        asked.append(message)
        return {**message, "content": []}

    @each
    def tell(message: JsonObject) -> JsonObject:
        asked.append(message)
        return message

    first, second = (tell(tell(spell(one_message({"role": "user", "content": "?"})))) for _ in range(2))
    assert first is second
    assert len(asked) == 2
    assert pickle.loads(pickle.dumps(first)) == first


def test_requests_with_the_same_history_share_it_and_what_is_wrong_with_it_is_told_by_its_place() -> None:
    turns: list[JsonObject] = [{"role": "user", "content": "?"}]
    call = {"type": "tool_use", "id": "a", "name": "Read", "input": {}}
    turns += [{"role": "assistant", "content": [call]}]
    turns += [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}]

    def parsed(messages: list[JsonObject]) -> list[JsonObject]:
        return parse_request(orjson.dumps({"model": "m", "max_tokens": 1, "messages": messages})).messages

    assert all(map(operator.is_, parsed(turns), parsed(turns)))
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"messages\.1\.content\.0: unexpected `tool_use_id`"):
            parsed([turns[0], turns[2], turns[1]])
        with pytest.raises(InvalidRequest, match=r"messages\.3\.role"):
            parsed([*turns, {"role": "robot", "content": "?"}])


def test_work_on_a_request_is_done_once_for_it_and_for_no_other() -> None:
    asked: list[Request] = []

    @each
    def shorten(request: Request) -> Request:
        asked.append(request)
        return request.with_(messages=[])

    request = Request({"model": "m", "messages": [{}]})
    assert shorten(request) is shorten(request)
    assert shorten(request.with_(model="n")).body == {"model": "n", "messages": []}
    assert len(asked) == 2
    assert pickle.loads(pickle.dumps(request)) == request


@given(st.lists(st.integers(0, 20), max_size=60))
def test_what_is_recent_is_bounded_and_what_is_used_stays(numbers: list[int]) -> None:
    recent: Recent[int, str] = Recent(100)
    for number in numbers:
        recent.put(number, str(number), 10)
        assert recent.get(number) == str(number)
    newest = list(dict.fromkeys(reversed(numbers)))[:5]
    assert [recent.get(number) for number in newest] == list(map(str, newest))
    recent.put(99, "large", 13)
    assert recent.get(99) is None
    assert sum(recent.get(number) is not None for number in range(21)) <= 12
