"""The one thread that owns mlx: which job moves next, and where each starts from.

Turns last no longer than a prefill step (see `pace.py`). Prompts and answers take turns; among prompts the one with
the fewest tokens left goes first, so a short side call waits for one step of a long prompt and no more; answers move
token by token together. A job whose prompt begins like that of a job being prefilled waits until the common part is
computed, and starts from it.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from anyclaude_lab.engine.serve import kv
from anyclaude_lab.engine.serve.figures import Figures
from anyclaude_lab.engine.serve.job import Failure, Finish, Job, Progress
from anyclaude_lab.engine.serve.prefixes import Rank, Tokens
from anyclaude_lab.engine.serve.runner import Runner
from anyclaude_lab.engine.serve.store import PrefixStore
from anyclaude_lab.errors import AnyclaudeError, BackendFailed, BackendUnavailable

LEAST_SHARED_TOKENS = 64  # computing fewer twice is cheaper than waiting
IDLE_S = 0.2  # quiet for so long, heads are written

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Scheduler:
    """Runs jobs until `stop`. Everything but `submit` and `stop` belongs to the thread that calls `run`."""

    runner: Runner
    store: PrefixStore
    figures: Figures = field(default_factory=Figures)
    jobs: list[Job] = field(default_factory=list)
    _inbox: queue.SimpleQueue[Job | None] = field(default_factory=queue.SimpleQueue)
    _answers_turn: bool = False

    def submit(self, job: Job) -> None:
        """From any thread."""
        self._inbox.put(job)

    def stop(self) -> None:
        """From any thread: `run` returns after the step it is in."""
        self._inbox.put(None)

    def run(self) -> None:
        """Work until stopped."""
        while self._receive():
            for job in [job for job in self.jobs if job.cancelled]:
                self._cancelled(job)
            self._turn()
        ending = BackendUnavailable("The engine is ending", retry_after_s=1)
        for job in list(self.jobs):
            self._cancelled(job)
            job.tell(Failure(ending))
        while not self._inbox.empty():
            if (late := self._inbox.get()) is not None:
                late.tell(Failure(ending))
        self.store.close()

    # -- arriving and leaving ------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        """Take in what has arrived, waiting for it where there is nothing else to do; False at the end."""
        while True:
            try:
                job = self._inbox.get(block=not self.jobs, timeout=IDLE_S)
            except queue.Empty:
                if self.jobs:
                    return True
                self.store.write_heads()
                continue
            if job is None:
                return False
            self.figures.requests += 1
            self._guarded(job, self._admit)

    def _admit(self, job: Job) -> None:
        """Find what `job` starts from: what is kept, or what another job has computed or is about to compute."""
        if job not in self.jobs:
            self.jobs.append(job)
        job.leader = None
        leader, shared = self._shared(job)
        if leader is None or shared < self.store.served(job.tokens) + LEAST_SHARED_TOKENS:
            start = self.store.start(job.tokens, job.rank)
            self._begin(job, start.state, start.tokens)
        elif shared <= leader.done:
            self._fork(leader, job, shared)
        else:
            leader.marks.add(shared)
            job.leader, job.share_tokens = leader, shared

    def _shared(self, job: Job) -> tuple[Job | None, int]:
        """The running job that has most in common with `job`, and how many tokens can be had from it."""
        found = [(self._to_be_had(other, job), index) for index, other in enumerate(self.jobs) if other.state]
        tokens, index = max(found, default=(0, -1))
        return (self.jobs[index], tokens) if tokens else (None, 0)

    def _to_be_had(self, other: Job, job: Job) -> int:
        assert other.state is not None
        common = min(other.tokens.common(job.tokens), len(job.tokens) - 1)
        if kv.grows_only(other.state):
            return common
        ends = (other.prompt.head_tokens, other.prompt.turn_tokens)
        return max((end for end in ends if other.done < end <= common), default=0)

    def _begin(self, job: Job, state: kv.State, tokens: int) -> None:
        job.state, job.done, job.reused = state, tokens, tokens
        prompt = job.prompt
        if not kv.grows_only(state):
            ends = (prompt.head_tokens, prompt.turn_tokens)
            job.marks |= {end for end in ends if tokens < end < len(job.tokens)}
        if not job.side:
            self.store.want_on_disk(job.tokens.first(prompt.head_tokens))
        self.figures.began(job)
        job.tell(Progress(job.done, len(job.tokens)))

    def _fork(self, leader: Job, job: Job, tokens: int) -> None:
        assert leader.state is not None
        self.figures.shared += 1
        job.leader = None
        self._begin(job, kv.first(leader.state, tokens, leader.done + len(leader.fed)), tokens)

    def _leave(self, job: Job) -> None:
        """Keep what was computed, and let those who waited for it look again."""
        self.jobs.remove(job)
        if job.state is not None:
            tokens = Tokens(job.tokens.first(job.done).packed + Tokens.of(job.fed).packed)
            self.store.keep(tokens, job.state, job.rank, asked_tokens=job.done, lane=job.lane)
        job.state = job.writer = None
        for other in [other for other in self.jobs if other.leader is job]:
            self._guarded(other, self._admit)

    def _cancelled(self, job: Job) -> None:
        self.figures.cancelled += 1
        self._leave(job)

    def _finished(self, job: Job, finish: Finish) -> None:
        self.figures.finished += 1
        self.figures.output_tokens += finish.output_tokens
        self._leave(job)
        job.tell(finish)

    def _failed(self, job: Job, error: AnyclaudeError) -> None:
        self.figures.failed += 1
        job.state = None  # nobody knows what it holds
        if job in self.jobs:
            self._leave(job)
        job.tell(Failure(error))

    def _guarded(self, job: Job, step: Callable[[Job], None]) -> None:
        """A step that fails ends its own job and no other."""
        try:
            step(job)
        except AnyclaudeError as error:
            self._failed(job, error)
        except Exception as error:
            log.exception("a step of a request failed")
            self._failed(job, BackendFailed(f"The model failed on this request: {type(error).__name__}: {error}"))

    # -- turns ---------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        prompts = [job for job in self.jobs if job.state is not None and not job.decoding]
        answers = [job for job in self.jobs if job.decoding]
        if prompts and not (answers and self._answers_turn):
            self._answers_turn = True
            self._guarded(min(prompts, key=lambda job: (job.uncached, job.arrived)), self._prompt_step)
        elif answers:
            self._answers_turn = False
            self._answer_steps(answers)

    def _prompt_step(self, job: Job) -> None:
        self.store.make_room(sum(kv.size_bytes(other.state) for other in self.jobs if other.state is not None))
        self.runner.prefill(job)
        if job.done in job.marks:
            self._reached(job)

    def _reached(self, job: Job) -> None:
        """A mark: keep the state if it cannot be cut out later, and start those who waited for it."""
        assert job.state is not None
        job.marks.discard(job.done)
        prompt, had = job.prompt, job.done
        if not kv.grows_only(job.state) and had in (prompt.head_tokens, prompt.turn_tokens):
            head = had == prompt.head_tokens and not job.side
            rank = Rank.HEAD if head else job.rank
            self.store.keep(job.tokens.first(had), kv.first(job.state, had, had), rank, asked_tokens=had)
        for other in [other for other in self.jobs if other.leader is job and other.share_tokens == had]:
            self._fork(job, other, had)

    def _answer_steps(self, answers: list[Job]) -> None:
        deadline = time.monotonic() + self.runner.pace.step_s
        while answers and time.monotonic() < deadline and self._inbox.empty():
            for job in list(answers):
                if job.cancelled:
                    answers.remove(job)
                else:
                    self._guarded(job, self._token)
                    if job not in self.jobs:
                        answers.remove(job)

    def _token(self, job: Job) -> None:
        finish = self.runner.token(job)
        if finish is not None:
            self._finished(job, finish)
