"""Which node gets a request. PURE: the answer follows from what is known of the nodes.

A strategy is a class with a name, an entry in `STRATEGIES`, and a word in the settings table; one contract suite runs
over all of them. Whatever the strategy, a node that is down or draining is not asked, and one that stumbled lately
comes behind all others; of equals, the one whose turn it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

ANSWER_TOKENS = 1024  # an answer being written slows a new prompt about as much as prefilling so many tokens
HOME_MAY_BE_SLOWER = 1.25  # than another node, and still keep its conversation


class State(StrEnum):
    """What a node is good for."""

    UP = "up"
    DEGRADED = "degraded"  # it stumbled lately: asked where no other can be
    DOWN = "down"
    DRAINING = "draining"  # finishes what it has, gets nothing new


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as one request finds it. Tokens are those of prompts."""

    name: str
    state: State = State.UP
    in_flight: int = 0
    queued_tokens: int = 0  # still to be computed for requests that it has
    latency_s: float | None = None  # to the first content, lately; None: not known
    seen_tokens: int = 0  # of this request's prompt, which it has computed before
    home: bool = False  # it answered this conversation last


@dataclass(frozen=True, slots=True)
class Asked:
    """The request. `turn` counts requests; `least_cached_share` of a prompt makes a cache worth going for."""

    turn: int = 0
    prompt_tokens: int = 0
    least_cached_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """One node to ask: its place in the list that was handed in, and why."""

    index: int
    why: str


class Strategy(Protocol):
    """`costs` of the nodes that can be asked, in their order; the lowest is asked first."""

    def costs(self, nodes: Sequence[NodeView], asked: Asked) -> list[tuple[float, ...]]: ...

    def why(self, node: NodeView, asked: Asked) -> str:
        """What speaks for the node, in words."""
        ...


class RoundRobin:
    """One after the other."""

    def costs(self, nodes: Sequence[NodeView], asked: Asked) -> list[tuple[float, ...]]:
        return [()] * len(nodes)

    def why(self, node: NodeView, asked: Asked) -> str:
        return f"it was its turn ({asked.turn})"


class LeastLoaded:
    """The fewest requests in flight; of equals the one that knows the conversation."""

    def costs(self, nodes: Sequence[NodeView], asked: Asked) -> list[tuple[float, ...]]:
        return [(node.in_flight, not node.home) for node in nodes]

    def why(self, node: NodeView, asked: Asked) -> str:
        return f"{node.in_flight} in flight"


class LatencyBased:
    """The shortest wait for a first token, by what was measured lately; what was not measured is, while it is idle."""

    def costs(self, nodes: Sequence[NodeView], asked: Asked) -> list[tuple[float, ...]]:
        slowest_s = max((node.latency_s for node in nodes if node.latency_s is not None), default=0.0)
        return [(self._expected_s(node, slowest_s), node.in_flight, not node.home) for node in nodes]

    def _expected_s(self, node: NodeView, slowest_s: float) -> float:
        if node.latency_s is None and not node.in_flight:
            return 0.0
        latency_s = slowest_s if node.latency_s is None else node.latency_s
        return latency_s * (1 + node.in_flight) / (HOME_MAY_BE_SLOWER if node.home else 1.0)

    def why(self, node: NodeView, asked: Asked) -> str:
        measured = "not measured yet" if node.latency_s is None else f"first token after {node.latency_s:.2f} s"
        return f"{measured}, {node.in_flight} in flight"


class CacheAware:
    """The fewest tokens to compute until this prompt is: what the node has not seen of it, behind its queue.

    Where no node has seen `least_cached_share` of the prompt, the queue alone decides, and what was seen of equals.
    """

    def costs(self, nodes: Sequence[NodeView], asked: Asked) -> list[tuple[float, ...]]:
        best = max((node.seen_tokens for node in nodes), default=0)
        worth_it = best > 0 and best >= asked.least_cached_share * asked.prompt_tokens
        return [
            (self._queue(node) - (node.seen_tokens if worth_it else 0), -node.seen_tokens, not node.home)
            for node in nodes
        ]

    def _queue(self, node: NodeView) -> int:
        return node.queued_tokens + node.in_flight * ANSWER_TOKENS

    def why(self, node: NodeView, asked: Asked) -> str:
        seen = f"has seen {node.seen_tokens:,} of {asked.prompt_tokens:,} tokens"
        return f"{seen}, {node.queued_tokens:,} before them, {node.in_flight} in flight"


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "latency-based": LatencyBased,
    "cache-aware": CacheAware,
}


def choose(strategy: Strategy, nodes: Sequence[NodeView], asked: Asked) -> list[Choice]:
    """Every node that can be asked, the best one first. `nodes` stand in the order of their turns."""
    able = [index for index, node in enumerate(nodes) if node.state in (State.UP, State.DEGRADED)]
    costs = strategy.costs([nodes[index] for index in able], asked)
    ranked = [
        (nodes[index].state is State.DEGRADED, cost, (index - asked.turn) % len(nodes), index)
        for index, cost in zip(able, costs, strict=True)
    ]
    return [Choice(index, _why(strategy, nodes[index], asked)) for *_, index in sorted(ranked)]


def _why(strategy: Strategy, node: NodeView, asked: Asked) -> str:
    words = [strategy.why(node, asked)]
    words += ["its conversation"] * node.home
    words += ["stumbled lately, but no other was free of that"] * (node.state is State.DEGRADED)
    return ", ".join(words)
