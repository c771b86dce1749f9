"""What every transform of the list owes, and what the list owes as a whole."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.pipeline import TRANSFORMS, Plan, Situation, Transform, reported, run
from anyclaude_lab.prompt.sections import CHARACTERS, measured
from anyclaude_lab.prompt.tiers import choose_tier
from anyclaude_lab.wire.request import Request, as_blocks
from tests.prompt.conversations import BILLING, MARK, session, text, tool
from tests.prompt.tiers.prompts import FULL

EVERYTHING = Plan(
    tool_allowlist=("bash", "read", "toolsearch", "webfetch", "write", "websearch"),
    tier="extreme",
    defer_tools=True,
    loop_hints=True,
    stub_tools=True,
)
AT = Situation(EVERYTHING, LaneState(), len, None)


def rendered(request: Request) -> str:
    """A naive chat template: system, tools, then the messages, each with its role; no terminator of its own."""
    parts = [f"<system>{block['text']}" for block in request.system]
    parts += [f"<tool>{orjson.dumps(tool).decode()}" for tool in request.tools]
    for message in request.messages:
        parts += [f"<{message['role']}>{orjson.dumps(block).decode()}" for block in as_blocks(message["content"])]
    return "".join(parts)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.name)
@pytest.mark.parametrize("request_", session(), ids=["1", "2", "3", "4", "5"])
def test_pure_and_idempotent(transform: Transform, request_: Request) -> None:
    before = copy.deepcopy(request_.body)
    once = transform.apply(request_, AT)
    assert request_.body == before
    assert transform.apply(once, AT) is once
    assert transform.apply(Request(copy.deepcopy(before)), AT) == once


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.name)
def test_nothing_to_do_is_the_same_object(transform: Transform) -> None:
    plain = Request({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [text("hello")]}]})
    assert transform.apply(plain, AT) is plain


def test_each_request_of_a_session_extends_the_one_before() -> None:
    texts = [rendered(run(request, Plan())[0]) for request in session()]
    for older, newer in itertools.pairwise(texts):
        assert newer.startswith(older)


@pytest.mark.parametrize("plan", [Plan(spell_canonically=False), Plan(place_deferred=False)])
def test_without_these_two_the_prefix_breaks(plan: Plan) -> None:
    texts = [rendered(run(request, plan)[0]) for request in session()]
    assert not all(newer.startswith(older) for older, newer in itertools.pairwise(texts))


def test_two_conversations_share_their_head() -> None:
    first, second = session()[0], session()[0]
    second.body["system"][0]["text"] = BILLING.replace("894", "1f0") + " cc_is_subagent=true; cc_prev_req=req_1;"
    assert rendered(run(first, Plan())[0]) == rendered(run(second, Plan())[0])


def test_the_order_in_which_servers_connect_does_not_matter() -> None:
    first, second = session()[2], session()[2]
    second.body["tools"].reverse()
    assert rendered(run(first, Plan())[0]) == rendered(run(second, Plan())[0])


def test_steps_say_what_was_done() -> None:
    _, _, steps = run(session()[0], Plan())
    done = {report.name: report for report in reported(steps)}
    assert "allowlist" not in [step.name for step in steps]  # the plan did not ask
    billing = done["billing"]
    assert billing.before.system - billing.after.system == len(BILLING)
    assert (billing.before.tools, billing.before.messages) == (billing.after.tools, billing.after.messages)
    assert done["deferred"].after.tools < done["deferred"].before.tools
    assert all(report.why for report in reported(steps))
    reports = reported(steps)
    assert all(a.after == b.before for a, b in itertools.pairwise(reports))
    assert reports[-1].after == measured(steps[-1].after, len)


def test_an_idle_step_says_so() -> None:
    plain = Request({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [text("hello")]}]})
    result, _, steps = run(plain, Plan())
    assert result is plain
    assert [step.changed for step in steps] == [False] * len(steps)
    assert reported(steps) == []


def test_names_are_unique() -> None:
    assert len({transform.name for transform in TRANSFORMS}) == len(TRANSFORMS)


# Contents as the client may spell them: (as it is newest, as it is later) with the same meaning.
texts = st.text(max_size=20).filter(bool)
markers = st.sampled_from([{}, {"cache_control": MARK}])


@st.composite
def spellings(draw: st.DrawFn) -> tuple[Any, Any]:
    value = draw(texts)
    return [text(value, **draw(markers))], draw(
        st.sampled_from([value, [text(value)], [text(value, cache_control=MARK)]])
    )


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), spellings()), min_size=1, max_size=6))
def test_spelling_never_shows(turns: list[tuple[str, tuple[Any, Any]]]) -> None:
    def request(which: int) -> Request:
        messages = [{"role": role, "content": spelled[which]} for role, spelled in turns]
        return Request({"model": "m", "max_tokens": 1, "messages": messages})

    assert orjson.dumps(run(request(0), Plan())[0].body) == orjson.dumps(run(request(1), Plan())[0].body)


def values(part: Any) -> Iterator[Any]:
    yield part
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for value in inner:
        yield from values(value)


def test_markers_go_and_the_users_own_data_stays() -> None:
    request = session()[1]
    request.body["tools"][0]["cache_control"] = MARK
    request.body["tools"][0]["input_schema"]["properties"]["cache_control"] = {"type": "string"}
    request.body["messages"][2]["content"][0]["input"]["cache_control"] = "no-store"
    request.body["messages"][3]["content"][0]["content"] = [text("a.py", cache_control=MARK)]
    result, _, _ = run(request, Plan())
    assert MARK not in list(values(result.body))
    assert "cache_control" in result.tools[0]["input_schema"]["properties"]
    assert result.messages[2]["content"][0]["input"]["cache_control"] == "no-store"
    assert result.messages[3]["content"][0]["content"] == [text("a.py")]


def test_plan_is_frozen_and_comparable() -> None:
    assert Plan() == Plan()
    assert hash(Plan()) == hash(Plan())
    with pytest.raises(AttributeError):
        Plan().strip_billing = False  # type: ignore[misc]  # frozen: that is the test


def test_a_deferred_tool_outside_the_allow_list_cannot_be_loaded() -> None:
    request = session()[2]
    result, _, _ = run(request, Plan(tool_allowlist=("Bash",)))
    assert [offered["name"] for offered in result.tools] == ["Bash"]
    assert "Reads a page." in rendered(request)
    assert "Reads a page." not in rendered(result)


def many_servers() -> Request:
    """A first request with more tools of MCP servers than a head should hold."""
    tools = [{**tool(f"mcp__notes__{number}"), "description": "Takes notes. " * 40} for number in range(30)]
    request = session()[0]
    return request.with_(tools=[*request.tools, *tools])


def test_what_a_lane_decides_it_decides_once() -> None:
    plan = Plan(tier="auto", defer_tools=True)
    _, lane, _ = run(many_servers(), plan, window_tokens=4096)
    assert lane.tier == choose_tier(session()[0], CHARACTERS, 4096)
    assert lane.deferred is not None and len(lane.deferred) == 30
    _, later, _ = run(session()[1], plan, lane, window_tokens=1_000_000)
    assert later == lane


def test_a_plan_that_leaves_nothing_open_decides_nothing() -> None:
    _, lane, _ = run(many_servers(), Plan(tier="extreme", stub_tools=True))
    assert lane == LaneState()


def test_deferred_by_us_is_named_and_not_defined() -> None:
    sent, _, steps = run(many_servers(), Plan(defer_tools=True))
    assert not [offered for offered in sent.tools if offered["name"].startswith("mcp__")]
    assert "mcp__notes__7" in rendered(sent) and "Takes notes." not in rendered(sent)
    done = {report.name: report for report in reported(steps)}
    assert done["deferred"].after.tools < done["deferred"].before.tools / 4


def test_tools_named_in_the_plan_keep_their_texts() -> None:
    request = session()[0]
    for offered in request.tools:
        offered["description"] = "Long. " * 100
    sent, _, _ = run(request, Plan(stub_tools=True, whole_tools=frozenset({"Read"})))
    assert {offered["name"] for offered in sent.tools if len(offered["description"]) > 200} == {"Read"}


def test_a_tier_says_what_it_took_and_what_it_could_not() -> None:
    def note(*system: str) -> str:
        request = session()[0].with_(system=[text(each) for each in system])
        _, _, steps = run(request, Plan(tier="extreme"))
        return next(report.note for report in reported(steps) if report.name == "tier")

    assert note(FULL) == "extreme, full prompt"
    rules = "\n".join(
        f"IMPORTANT: Never help with malicious work of kind {number}, refuse it." for number in range(300)
    )
    assert re.fullmatch(
        r"extreme, full prompt; budget_unmet: protected text is [\d,]+ tokens over the budget", note(FULL, rules)
    )
