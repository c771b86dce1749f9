"""The front of a cluster: each request to the node that suits it best, and on to the next while nothing was heard.

Nodes are looked at in the background: one that misses several checks is left alone, one that is down is looked at
again after a rest that doubles up to the time between two checks.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyclaude_lab.backends.base import Call, Reply
from anyclaude_lab.backends.cluster.answer import Answer, Stay, unless_lost
from anyclaude_lab.backends.cluster.node import Node, NodeBackend
from anyclaude_lab.backends.cluster.seen import BLOCK_TOKENS, Blocks, Seen, blocks_of
from anyclaude_lab.backends.cluster.strategies import STRATEGIES, Asked, Choice, NodeView, State, choose
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    NotFound,
    RateLimited,
    SettingsError,
    StreamCut,
)
from anyclaude_lab.settings import ClusterSettings
from anyclaude_lab.wire.events import JsonObject, Usage
from anyclaude_lab.wire.request import Request

MAX_NODES = 64
LANES_KEPT = 4096
LEAST_WINDOW_TOKENS = 4096  # Claude Code's shortest prompt is longer; one node that errs would stop all of them
CLIENT_PATIENCE_S = 600.0  # Claude Code's own for one request
LEAST_PAUSE_S = 0.05  # between two checks of one node
ELSEWHERE = (BackendUnavailable, BackendTimeout, BackendFailed, StreamCut, RateLimited)


@dataclass(slots=True)
class _Asking:
    """One request on its way through the nodes."""

    request: Request
    call: Call
    turn: int
    began: float
    blocks: Blocks
    tried: set[int] = field(default_factory=set)

    @property
    def prompt_tokens(self) -> int:
        return self.call.prompt_tokens or len(self.blocks) * BLOCK_TOKENS

    def seen_tokens(self, blocks: int) -> int:
        """Tokens of the prompt's first `blocks` blocks."""
        return self.prompt_tokens * blocks // len(self.blocks) if self.blocks else 0


class ClusterBackend:
    """Nodes that hold the same model. `start` begins to look after them; without it only requests tell how they are."""

    translating = True

    def __init__(
        self,
        nodes: Sequence[NodeBackend],
        settings: ClusterSettings | None = None,
        *,
        name: str = "mlx-cluster",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= len(nodes) <= MAX_NODES:
            raise SettingsError(f"The cluster has {len(nodes)} nodes; 1 to {MAX_NODES} are allowed.")
        chosen = settings or ClusterSettings()
        self.name = name
        self.nodes = [
            Node(
                backend,
                Seen(chosen.cache_tokens, chosen.cache_age_s),
                chosen.health_interval_s,
                chosen.unhealthy_share,
            )
            for backend in nodes
        ]
        self.loses_prefill_on_abort = any(backend.loses_prefill_on_abort for backend in nodes)
        self._settings, self._clock = chosen, clock
        self._strategy = STRATEGIES[chosen.strategy]()
        self._turn = -1
        self._homes: OrderedDict[str, Node] = OrderedDict()  # who answered a lane last
        self._watching: list[asyncio.Task[None]] = []

    # -- requests ------------------------------------------------------------------------------------------------

    async def send(self, request: Request, call: Call) -> Reply:
        """Ask the best node; another one where it cannot answer, also later, as long as nothing of it was heard."""
        self._turn += 1
        asking = _Asking(request, call, self._turn, self._clock(), blocks_of(request))
        stay, reply = await self._ask(asking)

        async def move(left: Stay, fault: AnyclaudeError) -> tuple[Stay, Reply]:
            return await self._ask(asking, self._failed(left.node, fault, asking))

        def told(ended: Stay, usage: Usage | None) -> None:
            if usage is not None:
                ended.node.reported(usage.prompt_tokens, usage.cached_tokens)

        return Answer(stay, reply, move, told).reply

    async def _ask(self, asking: _Asking, failure: AnyclaudeError | None = None) -> tuple[Stay, Reply]:
        """The first node that takes it. Raises the failure that says most where none does."""
        while (choice := self._next(asking)) is not None:
            if asking.tried and self._settings.retry_delay_s:
                await asyncio.sleep(self._settings.retry_delay_s)
            asking.tried.add(choice.index)
            node = self.nodes[choice.index]
            try:
                return await self._send_to(node, choice.why, asking)
            except AnyclaudeError as error:
                failure = self._failed(node, error, asking) or failure
        raise failure or self._none_left()

    def _next(self, asking: _Asking) -> Choice | None:
        most = self._settings.max_retries
        if most is not None and len(asking.tried) > most:
            return None
        asked = Asked(asking.turn, asking.prompt_tokens, self._settings.least_cached_share)
        views = [self._view(node, asking) for node in self.nodes]
        choices = [choice for choice in choose(self._strategy, views, asked) if choice.index not in asking.tried]
        left = choices or [choice for choice in self._last_resort() if choice.index not in asking.tried]
        return left[0] if left else None

    def _last_resort(self) -> list[Choice]:
        """Nodes that rest, where nothing else is left: one may be well again, and a refused connection costs little."""
        resting = [i for i, node in enumerate(self.nodes) if not (node.draining or node.silent)]
        resting.sort(key=lambda index: self.nodes[index].rests_until)
        return [Choice(index, "it rests, but no other node is left") for index in resting]

    def _view(self, node: Node, asking: _Asking) -> NodeView:
        now = self._clock()
        return NodeView(
            node.name,
            node.state(now),
            node.in_flight,
            node.queued_tokens,
            node.latency_s(now),
            asking.seen_tokens(node.seen.shared(asking.blocks, now)),
            self._homes.get(asking.call.lane) is node,
        )

    async def _send_to(self, node: Node, why: str, asking: _Asking) -> tuple[Stay, Reply]:
        now = self._clock()
        seen_tokens = asking.seen_tokens(node.seen.shared(asking.blocks, now))
        stay = Stay(node, self._clock, asking.prompt_tokens - seen_tokens, now)
        stay.begin()
        node.last_why = why
        node.seen.add(asking.blocks, now)
        self._at_home(asking.call.lane, node)
        sending = asyncio.ensure_future(node.backend.send(asking.request, asking.call))
        try:
            reply = await unless_lost(node, sending)
        except BaseException:
            stay.end()
            if sending.done() and not sending.cancelled() and sending.exception() is None:
                await sending.result().close()  # it came when nobody wanted it any more
            raise
        reply.why = why
        return stay, reply

    def _at_home(self, lane: str, node: Node) -> None:
        self._homes[lane] = node
        self._homes.move_to_end(lane)
        if len(self._homes) > LANES_KEPT:
            self._homes.popitem(last=False)

    def _failed(self, node: Node, error: AnyclaudeError, asking: _Asking) -> AnyclaudeError | None:
        """Note it. Returns what to say where no other node can answer; raises what no other node would mend."""
        now = self._clock()
        if not isinstance(error, ELSEWHERE):
            node.worked(now)
            raise error
        if isinstance(error, BackendUnavailable):
            node.went_down(error, now)
            return None
        if isinstance(error, BackendTimeout):
            node.went_down(error, now)
            if 2 * (now - asking.began) > CLIENT_PATIENCE_S:
                raise error  # another wait as long would outlast the client
        elif isinstance(error, StreamCut):
            node.broke(error, now)
        else:
            node.erred(error, now)
        return error

    def _none_left(self) -> BackendUnavailable:
        wait_s = min((node.rests_until for node in self.nodes if not node.draining), default=0) - self._clock()
        reasons = "; ".join(
            f"{node.name}: {'draining' if node.draining else node.last_error or 'on trial'}" for node in self.nodes
        )
        return BackendUnavailable(
            f"None of the {len(self.nodes)} nodes of the cluster answers ({reasons})",
            retry_after_s=max(1, math.ceil(wait_s)) if math.isfinite(wait_s) else 1,
        )

    # -- what is said of all -------------------------------------------------------------------------------------

    async def count(self, request: Request) -> int | None:
        """The count of the first node that can say."""
        for node in self.nodes:
            if node.state(self._clock()) in (State.UP, State.DEGRADED):
                tokens = await node.backend.count(request)
                if tokens is not None:
                    return tokens
        return None

    async def window_tokens(self) -> int | None:
        """The smallest window of any node that is not down, as a prompt has to fit wherever it goes; one too small to
        be true is not believed.
        """
        now = self._clock()
        heard = [node for node in self.nodes if not node.silent and node.state(now) is not State.DOWN]
        windows = await asyncio.gather(*(node.backend.window_tokens() for node in heard or self.nodes))
        return min((w for w in windows if w is not None and w >= LEAST_WINDOW_TOKENS), default=None)

    async def health(self) -> str | None:
        """None while a node answers that may be asked."""
        complaints = await asyncio.gather(*(self._check(node) for node in self.nodes))
        if any(found is None and not node.draining for node, found in zip(self.nodes, complaints, strict=True)):
            return None
        told = [found or f"{node.name} is draining" for node, found in zip(self.nodes, complaints, strict=True)]
        return f"None of the {len(self.nodes)} nodes answers: " + "; ".join(told)

    def drain(self, name: str, on: bool) -> None:
        """Give a node nothing new, and let it finish what it has; or take it back. Raises `NotFound`."""
        node = next((node for node in self.nodes if node.name == name), None)
        if node is None:
            known = ", ".join(node.name for node in self.nodes)
            raise NotFound(f"The cluster has no node {name[:100]!r}; it has {known}.")
        node.draining = on

    def status(self) -> JsonObject:
        now = self._clock()
        nodes = [node.status(now) for node in self.nodes]
        state = "up" if any(node["state"] in (State.UP, State.DEGRADED) for node in nodes) else "down"
        return {"name": self.name, "state": state, "strategy": self._settings.strategy, "nodes": nodes}

    # -- looking after the nodes ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Look at the nodes from now on, until `close`."""
        loops: list[Coroutine[Any, Any, None]] = []
        for node in self.nodes:
            loops += [self._keep_checking(node), self._keep_recognising(node)]
        self._watching = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await asyncio.gather(*(node.backend.close() for node in self.nodes))

    async def _keep_checking(self, node: Node) -> None:
        while True:
            wait_s = node.next_check_s(self._clock(), self._settings.health_interval_s)
            await asyncio.sleep(max(LEAST_PAUSE_S, wait_s))
            await self._check(node)

    async def _check(self, node: Node) -> str | None:
        try:
            async with asyncio.timeout(self._settings.health_timeout_s):
                complaint = await node.backend.health()
        except TimeoutError:
            complaint = f"{node.name} did not answer a health check within {self._settings.health_timeout_s:g} s"
        node.checked(complaint, self._clock(), self._settings.max_missed_checks)
        return complaint

    async def _keep_recognising(self, node: Node) -> None:
        """Another kind of server, or another model, may answer at its address by now."""
        while True:
            await asyncio.sleep(self._settings.refresh_s)
            try:
                async with asyncio.timeout(self._settings.refresh_timeout_s):
                    await node.backend.recognise()
            except (TimeoutError, AnyclaudeError):
                continue  # what was known stays; the checks say whether it answers
