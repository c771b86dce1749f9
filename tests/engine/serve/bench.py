"""A real engine in this process, on a random model, asked in token ids."""

from __future__ import annotations

import queue
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyclaude_lab.engine.serve import kv
from anyclaude_lab.engine.serve.disk import PrefixFolder
from anyclaude_lab.engine.serve.job import Failure, Finish, Job, Progress, Prompt, Text, Told
from anyclaude_lab.engine.serve.model import LoadedModel
from anyclaude_lab.engine.serve.pace import Pace
from anyclaude_lab.engine.serve.runner import Runner
from anyclaude_lab.engine.serve.sampling import Sampling
from anyclaude_lab.engine.serve.scheduler import Scheduler
from anyclaude_lab.engine.serve.store import PrefixStore

PATIENCE_S = 240.0


@dataclass(frozen=True)
class Answer:
    text: str
    finish: Finish

    @property
    def cached(self) -> int:
        return self.finish.cached_tokens


class Asked:
    """A request on its way."""

    def __init__(self, engine: EngineBench, ids: Sequence[int], **options: Any) -> None:
        prompt = Prompt(array("i", ids), options.pop("head", 0), options.pop("turn", 0))
        self.told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self.seen: list[Told] = []
        self._on: Callable[[Told], None] = options.pop("on", lambda told: None)
        options.setdefault("sampling", Sampling(temperature=0))
        self.job = Job(prompt, options.pop("max_tokens", 8), self._tell, **options)
        engine.scheduler.submit(self.job)

    def _tell(self, told: Told) -> None:
        """In the generation thread."""
        self._on(told)
        self.told.put(told)

    def next(self) -> Told:
        told = self.told.get(timeout=PATIENCE_S)
        self.seen.append(told)
        return told

    def answer(self) -> Answer:
        while not isinstance(told := self.next(), Finish):
            assert not isinstance(told, Failure), told
        return Answer("".join(seen.text for seen in self.seen if isinstance(seen, Text)), told)

    @property
    def progress(self) -> list[int]:
        return [seen.done for seen in self.seen if isinstance(seen, Progress)]


@dataclass
class EngineBench:
    scheduler: Scheduler

    def ask(self, ids: Sequence[int], **options: Any) -> Asked:
        return Asked(self, ids, **options)

    def answer(self, ids: Sequence[int], **options: Any) -> Answer:
        return self.ask(ids, **options).answer()


@contextmanager
def engine(
    loaded: LoadedModel,
    *,
    budget_bytes: int = 1 << 30,
    disk: Path | None = None,
    step_tokens: int = 32,
    **disk_options: Any,
) -> Iterator[EngineBench]:
    folder = PrefixFolder(disk, loaded.fingerprint, disk_options.pop("cap_bytes", 1 << 30)) if disk else None
    store = PrefixStore(lambda: kv.fresh(loaded.model), budget_bytes, folder, disk_options.pop("bits", None))
    scheduler = Scheduler(Runner(loaded, FixedPace(step_tokens)), store)
    thread = threading.Thread(target=scheduler.run, daemon=True)
    thread.start()
    try:
        yield EngineBench(scheduler)
    finally:
        scheduler.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class FixedPace(Pace):
    """Steps of one size, so that tests do not depend on the machine's speed."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self._fixed = tokens

    def step_tokens(self, context: int = 0) -> int:
        return self._fixed
