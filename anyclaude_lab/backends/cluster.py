"""Several servers with the same model behind one front: requests go round, a node that is down is left out.

A request that a node cannot answer is given to the next node, as long as no byte has come. A node that does not answer
rests for a while that doubles with each failure, up to a limit; after that the next request tries it again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Self

from anyclaude_lab.backends.base import Backend, Call, Reply
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    SettingsError,
    StreamCut,
)
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

MAX_NODES = 64
FIRST_REST_S = 1.0


@dataclass(slots=True)
class Node:
    """One server of the cluster, and what is known of it. `rests_until` is a time of the cluster's clock."""

    backend: Backend
    in_flight: int = 0
    requests: int = 0
    errors: int = 0
    failures_in_a_row: int = 0
    rests_until: float = -math.inf
    last_error: str | None = None

    def worked(self) -> None:
        self.failures_in_a_row, self.rests_until, self.last_error = 0, -math.inf, None

    def erred(self, error: AnyclaudeError) -> None:
        """This request failed; the node may be well."""
        self.errors += 1
        self.last_error = error.message

    def went_down(self, error: AnyclaudeError, now: float, longest_rest_s: float) -> None:
        self.erred(error)
        self.failures_in_a_row += 1
        self.rests_until = now + min(FIRST_REST_S * 2 ** (self.failures_in_a_row - 1), longest_rest_s)

    def status(self) -> JsonObject:
        known = {"in_flight": self.in_flight, "requests": self.requests, "errors": self.errors}
        state = "down" if self.failures_in_a_row else "up"
        return {**self.backend.status(), "state": state, **known, "last_error": self.last_error}


class ClusterBackend:
    """Round-robin over nodes; one that is down is tried again after `retry_s` at the latest."""

    translating = True

    def __init__(
        self,
        nodes: Sequence[Backend],
        *,
        retry_s: float = 10.0,
        name: str = "mlx-cluster",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= len(nodes) <= MAX_NODES:
            raise SettingsError(f"The cluster has {len(nodes)} nodes; 1 to {MAX_NODES} are allowed.")
        self.name = name
        self.nodes = [Node(backend) for backend in nodes]
        self.loses_prefill_on_abort = any(backend.loses_prefill_on_abort for backend in nodes)
        self._retry_s = retry_s
        self._clock = clock
        self._turn = -1  # of the node that goes first; each request starts one further

    async def send(self, request: Request, call: Call) -> Reply:
        """Ask the next node that is awake, and the ones behind it where it cannot answer."""
        failure: AnyclaudeError | None = None
        self._turn = (self._turn + 1) % len(self.nodes)
        for node in self._awake():
            try:
                return await self._send_to(node, request, call)
            except BackendUnavailable as error:
                self._rest(node, error)
            except BackendFailed as error:
                # A request can make every node stumble, so one that answers with an error of its own does not rest.
                node.erred(error)
                failure = error
            except BackendTimeout as error:
                self._rest(node, error)
                raise  # another full wait elsewhere would outlast the client
        raise failure or self._none_left()

    async def count(self, request: Request) -> int | None:
        """The count of the first node that can say."""
        for node in self._awake():
            tokens = await node.backend.count(request)
            if tokens is not None:
                return tokens
        return None

    async def window_tokens(self) -> int | None:
        """The smallest window of any node: a prompt has to fit wherever it goes."""
        windows = await asyncio.gather(*(node.backend.window_tokens() for node in self.nodes))
        return min((window for window in windows if window is not None), default=None)

    async def health(self) -> str | None:
        """None while a node answers. A node found to be well need not rest any longer."""
        complaints = await asyncio.gather(*(node.backend.health() for node in self.nodes))
        for node, complaint in zip(self.nodes, complaints, strict=True):
            if complaint is None:
                node.worked()
        if None in complaints:
            return None
        return f"None of the {len(self.nodes)} nodes answers: " + "; ".join(str(c) for c in complaints)

    def status(self) -> JsonObject:
        nodes = [node.status() for node in self.nodes]
        state = "up" if any(node["state"] == "up" for node in nodes) else "down"
        return {"name": self.name, "state": state, "nodes": nodes}

    async def close(self) -> None:
        await asyncio.gather(*(node.backend.close() for node in self.nodes))

    def _awake(self) -> list[Node]:
        """The nodes that do not rest, the one whose turn it is first."""
        now = self._clock()
        in_turn = self.nodes[self._turn :] + self.nodes[: self._turn]
        return [node for node in in_turn if node.rests_until <= now]

    async def _send_to(self, node: Node, request: Request, call: Call) -> Reply:
        node.requests += 1
        node.in_flight += 1
        try:
            reply = await node.backend.send(request, call)
        except BaseException:
            node.in_flight -= 1
            raise
        node.worked()
        watched = _Watched(reply, node, self._rest)
        reply.body, reply.close = watched, watched.close
        return reply

    def _rest(self, node: Node, error: AnyclaudeError) -> None:
        node.went_down(error, self._clock(), self._retry_s)

    def _none_left(self) -> BackendUnavailable:
        soonest_s = min(node.rests_until for node in self.nodes) - self._clock()
        reasons = "; ".join(f"{node.backend.name}: {node.last_error}" for node in self.nodes)
        return BackendUnavailable(
            f"None of the {len(self.nodes)} nodes of the cluster answers ({reasons})",
            retry_after_s=max(1, math.ceil(soonest_s)),
        )


class _Watched:
    """The body of a node's reply; tells the node how it went and when it is over."""

    def __init__(self, reply: Reply, node: Node, broke: Callable[[Node, AnyclaudeError], None]) -> None:
        self._body: AsyncIterator[bytes] = reply.body
        self._close = reply.close
        self._node = node
        self._broke = broke
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._body)
        except StopAsyncIteration:
            self._end()
            raise
        except (StreamCut, BackendTimeout) as error:
            if not self._over:
                self._broke(self._node, error)
            self._end()
            raise

    async def close(self) -> None:
        self._end()
        await self._close()

    def _end(self) -> None:
        self._node.in_flight -= not self._over
        self._over = True
