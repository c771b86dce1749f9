"""What every transform owes, on whole sessions of every recorded release."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import orjson
import pytest

from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.prompt.pipeline import TRANSFORMS, Plan, Situation, run
from anyclaude_lab.prompt.sections import CHARACTERS, measured
from anyclaude_lab.prompt.stabilise import working_directory
from anyclaude_lab.wire.request import Request, as_blocks
from tests.prompt.live import RECORDED, Recording
from tests.prompt.shapes import SHAPES, Shape

Recorded = Callable[[str], Recording]
pytestmark = pytest.mark.e2e  # they drive the real client
releases = pytest.mark.parametrize("release", RECORDED)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)

PLANS = {
    "plain": Plan(),
    "moderate": Plan(tier="moderate"),
    "aggressive": Plan(tier="aggressive"),
    "auto, stubs, deferred, hints": Plan(tier="auto", stub_tools=True, defer_tools=True, loop_hints=True),
    "extreme, stubs": Plan(tier="extreme", stub_tools=True),
}
plans = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
COUNT = CHARACTERS
WINDOW_TOKENS = 200_000


def samples(recording: Recording) -> Iterator[Request]:
    """The first and the longest request of each conversation."""
    for lane in recording.lanes().values():
        yield lane[0]
        if len(lane) > 1:
            yield max(lane, key=lambda request: len(request.messages))


def pairs(request: Request) -> list[tuple[str, str]]:
    """Calls and results, in the order in which they stand."""
    found = []
    for message in request.messages:
        for block in as_blocks(message.get("content")):
            if block["type"] == "tool_use":
                found.append(("call", block["id"]))
            elif block["type"] == "tool_result":
                found.append(("result", block["tool_use_id"]))
    return found


def continues(newer: Request, older: Request) -> bool:
    """Whether the history has grown, rather than been replaced by a summary or another small question."""
    return len(newer.messages) > len(older.messages)


@releases
@plans
def test_every_transform_of_every_request(release: str, plan: Plan, recorded: Recorded) -> None:
    by_name = {transform.name: transform for transform in TRANSFORMS}
    for request in samples(recorded(release)):
        before = orjson.dumps(request.body)
        result, lane, steps = run(request, plan, count=COUNT, window_tokens=WINDOW_TOKENS)
        assert orjson.dumps(request.body) == before
        at = Situation(plan, lane, COUNT, WINDOW_TOKENS)
        for step in steps:
            transform = by_name[step.name]
            given = orjson.dumps(step.before.body)
            again = transform.apply(Request(orjson.loads(given)), at)
            assert orjson.dumps(again.body) == orjson.dumps(step.after.body), f"{step.name} is not deterministic"
            assert orjson.dumps(step.before.body) == given, f"{step.name} edits its input"
            twice = transform.apply(step.after, at)
            assert orjson.dumps(twice.body) == orjson.dumps(step.after.body), f"{step.name} is not idempotent"
            assert pairs(step.after) == pairs(step.before), f"{step.name} parts a call from its result"
            if not transform.may_grow:
                sizes = measured(step.before, COUNT).total, measured(step.after, COUNT).total
                assert sizes[1] <= sizes[0], f"{step.name} grows from {sizes[0]} to {sizes[1]} tokens"
        assert result.messages
        assert bool(result.system) == bool(request.system)


@releases
@plans
@shapes
def test_each_prompt_is_a_prefix_of_the_next(release: str, plan: Plan, shape: Shape, recorded: Recorded) -> None:
    grown = 0
    for requests in recorded(release).lanes().values():
        sent = sent_of(requests, plan)
        for (older, newer), (before, after) in zip(pairwise(requests), pairwise(sent), strict=True):
            if continues(newer, older) and shape.keeps(before, after):
                grown += 1
                assert (at := difference(shape.rendered(before), shape.rendered(after))) is None, at
    assert grown > 5


def sent_of(requests: Sequence[Request], plan: Plan) -> list[Request]:
    """What is sent, request after request of a lane that keeps its state."""
    sent, lane = [], None
    for request in requests:
        result, lane, _ = run(request, plan, lane, count=COUNT, window_tokens=WINDOW_TOKENS)
        sent.append(result)
    return sent


def difference(before: str, after: str) -> str | None:
    """Where `after` stops going on as `before` does; None where it never does."""
    if after.startswith(before):
        return None
    at = next(i for i, (x, y) in enumerate(zip(before, after, strict=False)) if x != y)
    return f"at {at} of {len(before)}: {before[at - 40 : at + 60]!r} became {after[at - 40 : at + 60]!r}"


@releases
@plans
def test_a_lost_state_is_decided_again(release: str, plan: Plan, recorded: Recorded) -> None:
    for requests in recorded(release).lanes().values():
        _, lane, _ = run(requests[0], plan, count=COUNT, window_tokens=WINDOW_TOKENS)
        for request in requests:
            kept, lane, _ = run(request, plan, lane, count=COUNT, window_tokens=WINDOW_TOKENS)
            lost, rebuilt, _ = run(request, plan, None, count=COUNT, window_tokens=WINDOW_TOKENS)
            assert orjson.dumps(kept.body) == orjson.dumps(lost.body)
            assert rebuilt == lane == LaneState.from_json(orjson.loads(orjson.dumps(lane.as_json())))


@releases
@plans
def test_sessions_in_two_projects_share_their_head(release: str, plan: Plan, recorded: Recorded) -> None:
    here, there = (run(recorded(release).first(name), plan)[0] for name in ("work", "elsewhere"))
    assert (here.system, here.tools) == (there.system, there.tools)


@releases
def test_what_left_the_head_is_told(release: str, recorded: Recorded) -> None:
    request = recorded(release).first("work")
    before, _, _ = run(request, Plan(stabilise=False))
    after, _, _ = run(request, Plan())
    told = after.messages[0]["content"][0]["text"]
    lost = words(before) - words(after)
    assert lost and lost <= set(told.split())
    if directory := working_directory(before):
        assert directory in told


def words(request: Request) -> set[str]:
    return {word for block in request.system for word in block["text"].split()}


@releases
def test_without_the_stabiliser_two_projects_part_early(release: str, recorded: Recorded) -> None:
    here, there = (run(recorded(release).first(name), Plan(stabilise=False))[0] for name in ("work", "elsewhere"))
    assert here.system != there.system


@releases
def test_with_thinking_kept_some_template_breaks(release: str, recorded: Recorded) -> None:
    thinking = next(shape for shape in SHAPES if shape.dialect.reasoning_field)
    requests = max(recorded(release).lanes().values(), key=len)
    breaks = []
    for plan in (Plan(), Plan(keep_thinking=True)):
        results = requests[1:4]  # each ends with the result of a call
        pairs = zip(sent_of(results, plan), sent_of(list(map(said_more, results)), plan), strict=True)
        breaks.append(sum(difference(*map(thinking.rendered, pair)) is not None for pair in pairs))
    assert breaks == [0, 3]


def said_more(request: Request) -> Request:
    """The user says something after all."""
    return request.with_(messages=[*request.messages, {"role": "user", "content": "One more thing."}])
