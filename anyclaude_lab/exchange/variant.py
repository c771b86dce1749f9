"""Everything that decides how a request is answered: the backend, the prompt plan, how tokens are counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.exchange.count import PromptCounter
from anyclaude_lab.exchange.lanes import Lanes
from anyclaude_lab.prompt.pipeline import Plan


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of answering. `output_cap_tokens` bounds `max_tokens` besides the window (None: the window alone)."""

    name: str
    backend: Backend
    plan: Plan
    counter: PromptCounter
    window_tokens: int | None = None  # what the user declared; None: ask the backend
    output_cap_tokens: int | None = None
    lanes: Lanes = field(default_factory=Lanes)

    async def window(self) -> int | None:
        """Context window in tokens; None where nobody knows."""
        return self.window_tokens or await self.backend.window_tokens()
