"""The ladder: planted changes of behaviour land on their rung, and only there."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.lab.answers import Answer, Call
from anyclaude_lab.lab.metrics.comparators import same
from anyclaude_lab.lab.metrics.fidelity import RUNGS, judge, summary
from anyclaude_lab.lab.metrics.matching import best_matching

SCHEMAS: dict[str, dict[str, Any]] = {
    "Read": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}, "limit": {"type": "integer", "default": 2000}},
        "required": ["file_path"],
        "additionalProperties": False,
    },
    "Bash": {
        "type": "object",
        "properties": {"command": {"type": "string"}, "description": {"type": "string"}},
        "required": ["command"],
    },
}


def call(name: str, **given: Any) -> Call:
    return Call("toolu_1", name, json.dumps(given), given)


def answer(*calls: Call, text: str = "") -> Answer:
    return Answer(text=text, calls=list(calls))


READ = call("Read", file_path="/srv/mill/a.py")
BASH = call("Bash", command="ls -la '/srv'", description="List")


@pytest.mark.parametrize(
    ("reference", "candidate", "rung", "failure"),
    [
        (answer(READ), answer(text="It is done."), "trigger", "missed_call"),
        (answer(text="Done."), answer(READ), "trigger", "spurious_call"),
        (answer(READ), answer(text='<tool_call>{"name": "Read"'), "parseable", "unparsed"),
        (answer(READ), answer(Call("x", "Read", '{"file', None)), "parseable", "unparsed"),
        (answer(READ), answer(BASH), "name", "wrong_tool"),
        (answer(READ), answer(call("Raed", file_path="/srv/mill/a.py")), "name", "unknown_tool"),
        (answer(READ, BASH), answer(READ), "name", "fewer_calls"),
        (answer(READ), answer(READ, BASH), "name", "more_calls"),
        (answer(READ), answer(call("Read", path="/srv/mill/a.py")), "schema", "missing_required"),
        (answer(READ), answer(call("Read", file_path="/srv/mill/a.py", mode="r")), "schema", "unexpected"),
        (answer(READ), answer(call("Read", file_path="/srv/mill/a.py", limit="9")), "schema", "type"),
        (answer(BASH), answer(call("Bash", command="ls -la /srv", timeout=5)), "keys", "extra_argument"),
        (answer(READ), answer(call("Read", file_path="/srv/mill/b.py")), "values", "value"),
        (answer(READ, BASH), answer(BASH, READ), "exact", "order"),
    ],
)
def test_a_planted_change_lands_on_its_rung(reference: Answer, candidate: Answer, rung: str, failure: str) -> None:
    found = judge(reference, candidate, SCHEMAS)
    assert found.failed_rung is not None
    assert (RUNGS[found.failed_rung], found.failure) == (rung, failure)
    assert not found.exact


@pytest.mark.parametrize(
    "candidate",
    [
        answer(READ, BASH),
        answer(call("Read", file_path="/srv/mill/../mill/a.py"), BASH),
        answer(call("Read", file_path="a.py"), BASH),
        answer(call("Read", file_path="/srv/mill/a.py", limit=2000), BASH),
        answer(READ, call("Bash", command='ls  -la "/srv"', description="Other words")),
        answer(READ, call("Bash", command="ls -la /srv")),
    ],
)
def test_what_means_the_same_passes_every_rung(candidate: Answer) -> None:
    found = judge(answer(READ, BASH), candidate, SCHEMAS, folder="/srv/mill")
    assert found.failed_rung is None
    assert found.fidelity == 1.0


def test_calls_are_matched_for_the_best_and_each_once() -> None:
    wanted = answer(call("Read", file_path="/a"), call("Read", file_path="/b"), call("Read", file_path="/c"))
    found = judge(wanted, answer(call("Read", file_path="/b"), call("Read", file_path="/b")), SCHEMAS)
    assert [match.score for match in found.matches].count(1.0) == 1
    assert found.fidelity == pytest.approx(2 / 5)


def test_an_answer_without_calls_agrees_with_one_without_calls() -> None:
    found = judge(answer(text="a"), answer(text="b"), SCHEMAS)
    assert (found.failed_rung, found.fidelity) == (None, None)


def test_the_summary_keeps_every_part_visible() -> None:
    told = summary([judge(answer(READ), answer(READ), SCHEMAS), judge(answer(READ), answer(), SCHEMAS)])
    assert told["trigger_f1"] == pytest.approx(2 / 3)
    assert (told["name_acc"], told["schema_valid_rate"], told["exact_rate"], told["fidelity"]) == (1.0, 1.0, 0.5, 0.5)
    assert summary([])["fidelity"] is None
    quiet = summary([judge(answer(), answer(), SCHEMAS)])
    assert quiet["trigger_f1"] is quiet["name_acc"] is quiet["fidelity"] is None


@given(st.lists(st.lists(st.floats(0, 9), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_matching_is_the_best_there_is(weights: list[list[float]]) -> None:
    pairs = best_matching(weights)
    rows, columns = len(weights), 3
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs) == min(rows, columns)
    if rows <= columns:
        every = ([(r, c) for r, c in enumerate(order)] for order in itertools.permutations(range(columns), rows))
    else:
        every = ([(r, c) for c, r in enumerate(order)] for order in itertools.permutations(range(rows), columns))
    best = max(sum(weights[r][c] for r, c in found) for found in every)
    assert sum(weights[r][c] for r, c in pairs) == pytest.approx(best)


@given(st.dictionaries(st.sampled_from(["file_path", "command", "x"]), st.text() | st.integers() | st.booleans()))
def test_every_answer_agrees_with_itself(arguments: dict[str, Any]) -> None:
    one = answer(call("Free", **arguments))
    found = judge(one, one, {"Free": {"type": "object"}})
    assert found.fidelity == 1.0
    assert found.failed_rung is None


@pytest.mark.parametrize(
    ("name", "reference", "candidate", "agree"),
    [
        ("file_path", "/a/./b", "/a/b", True),
        ("file_path", "/a/B", "/a/b", False),
        ("command", "echo 'a b'", 'echo "a b"', True),
        ("command", "echo 'a b'", "echo a b", False),
        ("command", "echo 'a", "echo 'a ", False),
        ("old_string", "a  b", "a b", False),
        ("limit", 1, 1.0, True),
        ("flag", True, 1, False),
        ("description", "a", "b", None),
    ],
)
def test_comparators(name: str, reference: Any, candidate: Any, agree: bool | None) -> None:
    assert same("Bash", name, reference, candidate) is agree


def test_a_hostile_schema_is_no_verdict() -> None:
    for schema in ({"$ref": "http://127.0.0.1:9/x"}, {"type": 5}, {"pattern": "("}, {"$ref": "#"}):
        found = judge(answer(call("T", a=1)), answer(call("T", a=1)), {"T": schema})
        assert found.failed_rung is None
