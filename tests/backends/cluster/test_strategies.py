"""The balancer is a function: what holds for every strategy, and what each is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.backends.cluster.strategies import STRATEGIES, Asked, NodeView, State, choose
from anyclaude_lab.settings.rows import cluster

PROMPT = 10_000
NAMES = sorted(STRATEGIES)

views = st.builds(
    NodeView,
    st.text(max_size=3),
    st.sampled_from(State),
    in_flight=st.integers(0, 20),
    queued_tokens=st.integers(0, 50_000),
    latency_s=st.none() | st.floats(0, 60),
    seen_tokens=st.integers(0, PROMPT),
    home=st.booleans(),
)
clusters = st.lists(views, min_size=1, max_size=8)
requests = st.builds(Asked, st.integers(0, 1000), st.integers(0, 2 * PROMPT), st.floats(0, 1))
every_strategy = pytest.mark.parametrize("name", NAMES)


def order(name: str, nodes: Sequence[NodeView], asked: Asked) -> list[int]:
    return [choice.index for choice in choose(STRATEGIES[name](), nodes, asked)]


def first(name: str, nodes: Sequence[NodeView], **asked: float) -> str:
    return nodes[order(name, nodes, Asked(prompt_tokens=PROMPT, **asked))[0]].name  # type: ignore[arg-type]  # its own fields


def test_the_settings_know_every_strategy_and_no_other() -> None:
    assert set(cluster.STRATEGIES) == set(STRATEGIES)


@every_strategy
@given(nodes=clusters, asked=requests)
def test_who_can_be_asked_is_in_the_order_once_and_nobody_else(name: str, nodes: list[NodeView], asked: Asked) -> None:
    able = [i for i, node in enumerate(nodes) if node.state in (State.UP, State.DEGRADED)]
    chosen = choose(STRATEGIES[name](), nodes, asked)
    assert sorted(choice.index for choice in chosen) == able
    assert all(choice.why for choice in chosen)
    assert chosen == choose(STRATEGIES[name](), nodes, asked)
    stumbled = [nodes[choice.index].state is State.DEGRADED for choice in chosen]
    assert stumbled == sorted(stumbled)


@every_strategy
@given(nodes=clusters, asked=requests, data=st.data())
def test_a_node_that_gets_worse_does_not_move_forward(
    name: str, nodes: list[NodeView], asked: Asked, data: st.DataObject
) -> None:
    before = order(name, nodes, asked)
    for index in before:
        node = nodes[index]
        if data.draw(st.booleans()):
            # Nobody's share of the cache may cross the line that makes caches count: that changes the question.
            worse = replace(node, in_flight=node.in_flight + 1, queued_tokens=node.queued_tokens + 1000)
            if node.latency_s is None:
                continue
            after = order(name, [*nodes[:index], worse, *nodes[index + 1 :]], asked)
            assert after.index(index) >= before.index(index)


@every_strategy
@given(count=st.integers(1, 8), load=st.integers(0, 5), rounds=st.integers(1, 5))
def test_equal_nodes_get_equal_shares(name: str, count: int, load: int, rounds: int) -> None:
    nodes = [NodeView(str(i), in_flight=load, latency_s=1.0) for i in range(count)]
    firsts = Counter(order(name, nodes, Asked(turn, PROMPT))[0] for turn in range(rounds * count))
    assert set(firsts.values()) == {rounds}


@every_strategy
@given(count=st.integers(2, 8), home=st.integers(0, 7), turn=st.integers(0, 100))
def test_of_equal_nodes_a_conversation_stays_at_its_own(name: str, count: int, home: int, turn: int) -> None:
    home %= count
    nodes = [NodeView(str(i), latency_s=1.0, home=i == home) for i in range(count)]
    if name != "round-robin":
        assert order(name, nodes, Asked(turn, PROMPT))[0] == home


def test_the_least_loaded() -> None:
    assert first("least-loaded", [NodeView("a", in_flight=2), NodeView("b", in_flight=1, latency_s=9)]) == "b"


def test_the_fastest_for_a_request_behind_those_it_has() -> None:
    slow, fast = NodeView("slow", latency_s=3.0), NodeView("fast", latency_s=1.0)
    assert first("latency-based", [slow, fast]) == "fast"
    assert first("latency-based", [slow, replace(fast, in_flight=3)]) == "slow"
    assert first("latency-based", [slow, fast, NodeView("new")]) == "new"
    assert first("latency-based", [slow, fast, NodeView("new", in_flight=1)]) == "fast"
    assert first("latency-based", [replace(fast, name="home", latency_s=1.2, home=True), fast]) == "home"


def test_a_cache_is_weighed_against_the_queue_before_it() -> None:
    warm, cold = NodeView("warm", seen_tokens=9_000), NodeView("cold")
    assert first("cache-aware", [cold, warm]) == "warm"
    assert first("cache-aware", [cold, replace(warm, queued_tokens=8_000)]) == "warm"
    assert first("cache-aware", [cold, replace(warm, queued_tokens=9_001)]) == "cold"
    assert first("cache-aware", [cold, replace(warm, in_flight=9)]) == "cold"


def test_a_small_share_of_a_cache_decides_among_equals_only() -> None:
    some, idle = NodeView("some", seen_tokens=4_000), NodeView("idle")
    assert first("cache-aware", [idle, some]) == "some"
    assert first("cache-aware", [idle, replace(some, in_flight=1)]) == "idle"
    assert first("cache-aware", [idle, replace(some, in_flight=1)], least_cached_share=0.4) == "some"
