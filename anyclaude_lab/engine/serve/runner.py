"""The steps of one job on the model: a piece of its prompt, its first token, its next token."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, cast

import mlx.core as mx

from anyclaude_lab.engine.serve import kv
from anyclaude_lab.engine.serve.job import Finish, Job, Progress, Text
from anyclaude_lab.engine.serve.model import LoadedModel
from anyclaude_lab.engine.serve.pace import CPU_SIZES, SIZES, Pace
from anyclaude_lab.engine.serve.sampling import Pick, picker
from anyclaude_lab.engine.serve.stops import StopText

CLEAR_EVERY = 256  # tokens between two clean-ups of mlx's own pool of buffers


@dataclass(slots=True)
class Writer:
    """An answer being written: how its tokens are chosen, and the text they make."""

    pick: Pick
    detokenizer: Any
    stop: StopText
    pending: mx.array  # the next token, being computed


@dataclass(slots=True)
class Runner:
    """Moves jobs forward. Only for the thread that owns mlx."""

    loaded: LoadedModel
    pace: Pace = field(default_factory=lambda: Pace(sizes=CPU_SIZES if mx.default_device() == mx.cpu else SIZES))
    longest_step_s: float = 0.0

    def prefill(self, job: Job) -> None:
        """One step of the prompt, up to the next mark; behind the last one the first token is on its way."""
        last = len(job.tokens) - 1
        if job.done < last:
            self._prompt_step(job, min([job.done + self.pace.step_tokens(job.done), last, *self._marks_ahead(job)]))
        if job.done == last and last not in job.marks:
            self._begin_answer(job)

    def token(self, job: Job) -> Finish | None:
        """The next token of the answer; its end when it ends."""
        writer: Writer = job.writer
        token, last = writer.pending, job.output + 1 >= job.max_tokens
        scores = None if last else self._scores(job, token[None])
        if scores is not None and job.guide is None:  # the one after it is begun before this one is looked at
            writer.pending = _chosen(writer.pick, scores)
        value = cast(int, token.item())
        if scores is not None:
            job.fed.append(value)
        if scores is not None and job.guide is not None:
            job.guide.took(value)
            writer.pending = _chosen(writer.pick, job.guide.allowed(scores))
        job.output += 1
        if job.output % CLEAR_EVERY == 0:
            mx.clear_cache()
        if job.first_token_s is None:
            job.first_token_s = time.monotonic() - job.arrived
        if value in self.loaded.end_tokens:
            return self._finished(job, "stop")
        writer.detokenizer.add_token(value)
        self._tell(job, writer.stop.feed(writer.detokenizer.last_segment))
        if writer.stop.found is not None:
            return self._finished(job, "stop")
        return self._finished(job, "length") if last else None

    def _prompt_step(self, job: Job, end: int) -> None:
        assert job.state is not None
        started = time.monotonic()
        ids = mx.array(job.prompt.ids[job.done : end].tolist())
        self.loaded.model(ids[None], cache=job.state)
        kv.settle(job.state)
        mx.clear_cache()
        took_s = time.monotonic() - started
        self.pace.took(end - job.done, took_s, job.done)
        self.longest_step_s = max(self.longest_step_s, took_s)
        job.done = end
        job.tell(Progress(job.done, len(job.tokens)))

    def _marks_ahead(self, job: Job) -> list[int]:
        return [mark for mark in job.marks if mark > job.done]

    def _begin_answer(self, job: Job) -> None:
        pick = picker(job.sampling, job.banned)
        scores = self._scores(job, mx.array([[job.prompt.ids[-1]]]))
        pending = _chosen(pick, scores if job.guide is None else job.guide.allowed(scores))
        job.done = len(job.tokens)
        job.writer = Writer(pick, self.loaded.detokenizer(), StopText(job.stops), pending)
        self._tell(job, job.prompt.forced_text)

    def _scores(self, job: Job, ids: mx.array) -> mx.array:
        """Of the token behind `ids` (of shape (1, n)), of shape (1, vocabulary), being computed."""
        scores: mx.array = self.loaded.model(ids, cache=job.state)[:, -1, :].astype(mx.float32)
        mx.async_eval(scores)  # type: ignore[no-untyped-call]  # mlx has no types for it
        return scores

    def _finished(self, job: Job, reason: str) -> Finish:
        writer: Writer = job.writer
        writer.detokenizer.finalize()
        if writer.stop.found is None:
            self._tell(job, writer.stop.feed(writer.detokenizer.last_segment))
        if writer.stop.found is None:
            self._tell(job, writer.stop.close())
        return Finish(reason, writer.stop.found, len(job.tokens), job.reused, job.output)

    def _tell(self, job: Job, text: str) -> None:
        if text:
            job.tell(Text(text))


def _chosen(pick: Pick, scores: mx.array) -> mx.array:
    """The next token, of shape (1,), being computed."""
    token = pick(scores)
    mx.async_eval(token)  # type: ignore[no-untyped-call]  # mlx has no types for it
    return token
