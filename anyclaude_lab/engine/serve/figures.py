"""What the engine did so far, for `/metrics`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

from anyclaude_lab.engine.serve.job import Job
from anyclaude_lab.engine.serve.prefixes import Tokens
from anyclaude_lab.wire.events import JsonObject

LANES = 64  # the last ones that were heard of


@dataclass(slots=True)
class LaneFigures:
    """One conversation: how much of its prompts was already computed.

    `recomputed_tokens`: those that its request before had in the same place, and that were computed all the same.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    recomputed_tokens: int = 0


@dataclass(slots=True)
class Figures:
    """Counts since the start. A request that joined another's prefill counts as shared."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    shared: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    lanes: dict[str, LaneFigures] = field(default_factory=dict)
    _before: dict[str, Tokens] = field(default_factory=dict)  # the last prompt of each lane

    def began(self, job: Job) -> None:
        """`job` knows what it starts from."""
        self.prompt_tokens += len(job.tokens)
        self.cached_tokens += job.reused
        lane = self.lanes.pop(job.lane, None) or LaneFigures()
        lane.requests += 1
        lane.prompt_tokens += len(job.tokens)
        lane.cached_tokens += job.reused
        lane.recomputed_tokens += max(0, self._had_before(job) - job.reused)
        self.lanes[job.lane], self._before[job.lane] = lane, job.tokens
        while len(self.lanes) > LANES:
            oldest = next(iter(self.lanes))
            del self.lanes[oldest], self._before[oldest]

    def as_json(self) -> JsonObject:
        """Any thread may call."""
        counts = {each.name: getattr(self, each.name) for each in fields(self) if each.type == "int"}
        return counts | {"lanes": {name: asdict(lane) for name, lane in list(self.lanes.items())}}

    def _had_before(self, job: Job) -> int:
        before = self._before.get(job.lane)
        return 0 if before is None else min(before.common(job.tokens), len(job.tokens) - 1)
