"""The same call with the same result: noticed from the third time on, hinted at where it happened, for good."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.prompt.loops import HINT, LOOP_CALLS, RECENT_CALLS, Loop, hint_at_loops, loop_at_end
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks

PROMPT = {"role": "user", "content": "Mend the test."}


def rounds(*made: tuple[str, Any, Any]) -> list[JsonObject]:
    """Messages in which these calls (tool, input, result) were made one after the other."""
    messages: list[JsonObject] = []
    for number, (name, given_input, result) in enumerate(made):
        call = {"type": "tool_use", "id": f"toolu_{len(messages)}_{number}", "name": name, "input": given_input}
        back = {"type": "tool_result", "tool_use_id": call["id"], "content": result}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [back]}]
    return messages


def request(*messages: JsonObject) -> Request:
    return Request({"model": "m", "messages": [PROMPT, *messages]})


SAME = ("Bash", {"command": "make test"}, "1 failed")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([], None),
        ([SAME] * 2, None),
        ([SAME] * 3, Loop("Bash", 3)),
        ([SAME] * 5, Loop("Bash", 5)),
        ([*[SAME] * 3, ("Read", {"file_path": "x"}, "y")], None),
        ([SAME, ("Read", {}, "y")] * 3, Loop("Read", 3)),
        ([*[SAME] * 2, ("Bash", {"command": "make test"}, "0 failed")], None),
        ([*[SAME] * 2, ("Bash", {"command": "make  test"}, "1 failed")], None),
        ([("Bash", {"a": 1, "b": 2}, "x"), *[("Bash", {"b": 2, "a": 1}, "x")] * 2], Loop("Bash", 3)),
        ([("Bash", {}, "x"), ("Bash", {}, [{"type": "text", "text": "x"}]), ("Bash", {}, "x")], Loop("Bash", 3)),
        ([("TaskOutput", {"id": 1}, "running")] * 6, None),
        ([SAME, *[("Read", {"n": i}, "y") for i in range(RECENT_CALLS)], SAME, SAME], None),
    ],
)  # fmt: skip
def test_what_is_a_loop(made: list[tuple[str, Any, Any]], expected: Loop | None) -> None:
    assert loop_at_end(request(*rounds(*made))) == expected


def test_a_word_of_the_user_begins_anew() -> None:
    again = {"role": "user", "content": "Try once more."}
    assert loop_at_end(request(*rounds(SAME, SAME), again, *rounds(SAME))) is None


def test_the_hint_stands_behind_the_result_and_names_the_call() -> None:
    hinted = hint_at_loops(request(*rounds(*[SAME] * 4)))
    texts = [
        [b["text"] for b in m["content"] if b["type"] == "text"] for m in hinted.messages[1:] if m["role"] == "user"
    ]
    assert [len(text) for text in texts] == [0, 0, 1, 1]
    assert "Bash" in texts[2][0] and "3 times" in texts[2][0] and "4 times" in texts[3][0]
    assert hinted.messages[-1]["content"][0]["type"] == "tool_result"


def test_nothing_is_touched_without_a_loop() -> None:
    given_request = request(*rounds(SAME, SAME))
    assert hint_at_loops(given_request) is given_request


results = st.sampled_from(["x", "y", [{"type": "text", "text": "x"}], [], None])
made_calls = st.lists(
    st.tuples(st.sampled_from(["Bash", "Read"]), st.sampled_from([{}, {"a": 1}]), results), max_size=15
)


@given(st.lists(made_calls, min_size=1, max_size=3))
def test_the_end_of_a_history_says_as_much_as_the_whole(talk: list[list[tuple[str, Any, Any]]]) -> None:
    messages = [message for made in talk for message in [PROMPT, *rounds(*made)]]
    texts = [block["text"] for block in as_blocks(hint_at_loops(request(*messages)).messages[-1]["content"])[1:]]
    loop = loop_at_end(request(*messages))
    assert texts == ([HINT.format(name=loop.name, times=loop.times)] if loop else [])


@given(made_calls)
def test_a_hint_never_moves_what_was_sent_before(made: list[tuple[str, Any, Any]]) -> None:
    messages = rounds(*made)
    whole = hint_at_loops(request(*messages)).messages
    for end in range(len(messages) + 1):
        assert hint_at_loops(request(*messages[:end])).messages == whole[: end + 1]
    without = [m | {"content": [b for b in m["content"] if b["type"] != "text"]} for m in whole[1:]]
    assert without == messages


json_values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(json_values)
def test_a_result_of_any_shape_is_borne(content: Any) -> None:
    call = {"type": "tool_use", "id": "a", "name": "Bash", "input": content}
    back = {"type": "tool_result", "tool_use_id": "a", "content": content if isinstance(content, str) else []}
    messages = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [back]}] * LOOP_CALLS
    assert loop_at_end(request(*messages)) == Loop("Bash", LOOP_CALLS)
