"""What the conversations in progress have decided, and found of them in the cache; the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from anyclaude_lab.prompt.lane import LaneState
from anyclaude_lab.wire.events import Usage

T = TypeVar("T")
LANES = 512  # of a few hundred bytes each; a forgotten lane decides again, to the same end


class Lanes:
    """The state of each lane by its key."""

    def __init__(self, limit: int = LANES) -> None:
        self._limit = limit
        self._states: OrderedDict[str, LaneState] = OrderedDict()
        self._warm: OrderedDict[str, int] = OrderedDict()  # tokens of the last prompt, where some came from a cache

    def __len__(self) -> int:
        return len(self._states)

    def get(self, lane: str) -> LaneState | None:
        """What the lane decided; None where it is new or forgotten."""
        if lane in self._states:
            self._states.move_to_end(lane)
        return self._states.get(lane)

    def keep(self, lane: str, state: LaneState) -> None:
        """Remember it as the most recently used."""
        self._remember(self._states, lane, state)

    def answered(self, lane: str, usage: Usage) -> None:
        """Note what its backend reports of its last prompt."""
        self._warm.pop(lane, None)
        if usage.prompt_tokens and usage.cached_tokens:
            self._remember(self._warm, lane, usage.prompt_tokens)

    def uncached_tokens(self, lane: str, prompt_tokens: int) -> int | None:
        """How much of its next prompt is new, where the last one was found in a cache and this one is no shorter."""
        warm = self._warm.get(lane)
        return None if warm is None or warm > prompt_tokens else prompt_tokens - warm

    def _remember(self, known: OrderedDict[str, T], lane: str, value: T) -> None:
        known[lane] = value
        known.move_to_end(lane)
        if len(known) > self._limit:
            known.popitem(last=False)
