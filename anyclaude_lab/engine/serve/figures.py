"""What the engine did so far, for `/metrics`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from anyclaude_lab.engine.serve.job import Job
from anyclaude_lab.wire.events import JsonObject

LANES = 64  # the last ones that were heard of


@dataclass(slots=True)
class LaneFigures:
    """One conversation: how much of its prompts was already computed."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0


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

    def began(self, job: Job) -> None:
        """`job` knows what it starts from."""
        self.prompt_tokens += len(job.tokens)
        self.cached_tokens += job.reused
        lane = self.lanes.pop(job.lane, None) or LaneFigures()
        lane.requests += 1
        lane.prompt_tokens += len(job.tokens)
        lane.cached_tokens += job.reused
        self.lanes[job.lane] = lane
        while len(self.lanes) > LANES:
            del self.lanes[next(iter(self.lanes))]

    def as_json(self) -> JsonObject:
        return asdict(self)
