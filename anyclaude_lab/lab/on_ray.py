"""A replay on a Ray cluster: every worker is an actor that holds one backend open and asks its sessions in their order.

Sessions are divided as by `--shard`: n workers find what n shards put together do. A server that the lab starts is
started by each worker; one that runs already, or a provider, is asked by one worker alone, as its cache is one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from anyclaude_lab.errors import BackendFailed, extras
from anyclaude_lab.lab.arms import Backends, opened
from anyclaude_lab.lab.cells import add_cells, head_of
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.plan import Asked, mine, planned, sessions_of
from anyclaude_lab.lab.progress import Bar, Progress
from anyclaude_lab.lab.replay import check, kept_cells, session_cells
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.variant import Variant
from anyclaude_lab.wire.events import JsonObject

WORKERS = 2
STARTS = 3  # Ray gives itself 30 s, which a busy machine does not always keep
STORE_BYTES = 100_000_000  # what is shared is small
CLOSE_S = 60.0  # a server that is left has to be gone by then
OWN_SERVER = ("embedded", "scripted")  # backends of which every worker has one


class Worker:
    """An actor. Its sessions are asked one after the other, in the order of the calls.

    No method is a coroutine: Ray would then run them side by side, in any order.
    """

    def __init__(self, traces: Traces, turns_per_session: int | None, pace: str) -> None:
        self._sessions = sessions_of(traces, None, turns_per_session)
        self._pace = pace
        self._loop = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._backends: Backends | None = None

    def ask(self, variant: Variant, repeat: int, session: str, position: int) -> list[JsonObject]:
        """The cells of one session in one variant."""
        if self._backends is None:
            recorded = {turn.key: turn.recorded for turns in self._sessions.values() for turn in turns}
            self._backends = self._loop.run(self._stack.enter_async_context(opened(recorded.get)))
        asked = Asked(variant, repeat, self._sessions[session], position)
        return self._loop.run(session_cells(self._backends, asked, self._pace, Bar(False, len(asked.turns))))

    def close(self) -> None:
        """End the server."""
        self._loop.run(self._stack.aclose())


def replay_on_ray(
    traces: Traces,
    variants: Sequence[Variant],
    *,
    workers: int = WORKERS,
    repeat: int = 1,
    progress: bool | Progress = True,
    seed: int = 0,
    out: Path | None = None,
    pace: str = "fast",
    turns_per_session: int | None = None,
) -> Run:
    """`lab.replay` by so many workers of the cluster that RAY_ADDRESS names, or of one that is started on this machine.

    A machine that joined the cluster needs this package, the traces at the same place, and the keys of the backends in
    its environment. Raises SettingsError, and BackendFailed where a worker is lost: what was finished is in `out`, and
    the same call goes on.
    """
    check(variants, pace, repeat)
    plan = planned(sessions_of(traces, None, turns_per_session), variants, repeat, seed)
    head = head_of(variants, seed=seed, repeat=repeat, shard=None, pace=pace, workers=workers,
                   cache_policy="own server for each worker, nonce per arm")  # fmt: skip
    done = kept_cells(out, head)
    bar = Bar(progress, sum(len(each.turns) for each in plan))
    cells = {each.position: [done[key] for key in each.keys] for each in plan if each.within(done)}
    bar.step(sum(map(len, cells.values())), waited=False)
    missing = [each for each in plan if each.position not in cells]
    with _cluster(len({_worker_of(each, workers) for each in missing})) as ray:
        for position, fresh in _asked(ray, traces, missing, workers, turns_per_session, pace):
            cells[position] = fresh
            bar.step(len(fresh))
            if out is not None:
                add_cells(out, fresh)
    return Run(head, [cell for position in sorted(cells) for cell in cells[position]])


def _asked(
    ray: Any, traces: Traces, plan: Sequence[Asked], workers: int, turns: int | None, pace: str
) -> Iterator[tuple[int, list[JsonObject]]]:
    """(position, cells), as they are finished."""
    actor = ray.remote(num_cpus=1)(Worker)
    shared = ray.put(traces)
    actors: dict[tuple[str, int], Any] = {}
    running = {}
    for each in plan:
        place = _worker_of(each, workers)
        worker = actors.get(place) or actors.setdefault(place, actor.remote(shared, turns, pace))
        session = each.turns[0].recorded.session
        running[worker.ask.remote(each.variant, each.repeat, session, each.position)] = each
    try:
        while running:
            (first,), _ = ray.wait(list(running), num_returns=1)
            each = running.pop(first)
            yield each.position, ray.get(first)
        ray.get([worker.close.remote() for worker in actors.values()], timeout=CLOSE_S)
    except ray.exceptions.RayActorError as lost:
        session = each.turns[0].recorded.session
        raise BackendFailed(f"A worker was lost while it asked the session {session}: {lost}") from None
    finally:
        for worker in actors.values():
            ray.kill(worker)


def _worker_of(each: Asked, workers: int) -> tuple[str, int]:
    """Backend and number of the worker that asks it."""
    if each.variant.kind not in OWN_SERVER:
        return each.variant.backend, 0
    session = each.turns[0].recorded.session
    return each.variant.backend, next(n for n in range(workers) if mine(session, (n + 1, workers)))


@contextmanager
def _cluster(actors: int) -> Iterator[Any]:
    """Ray, connected. A cluster that is started here listens on this machine alone, and ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_ADDRESS" not in os.environ:
        # quirk(Ray 2.60): it listens on every address, whatever it is told, but for this switch of its Macs.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    with extras():
        import ray
    if ray.is_initialized():
        yield ray
        return
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        _connect(ray, actors, folder)
        try:
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, actors: int, folder: str) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one here. Raises BackendFailed."""
    here: dict[str, Any] = {"num_cpus": max(1, actors), "object_store_memory": STORE_BYTES, "_temp_dir": folder}
    chosen = {} if "RAY_ADDRESS" in os.environ else here
    for left in reversed(range(STARTS)):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, **chosen)
            return
        except Exception as error:  # Ray raises plain ones
            ray.shutdown()
            if not left:
                raise BackendFailed(f"Ray did not start: {error}") from None
