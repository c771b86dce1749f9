"""What the conversations in progress have decided, the least recently used forgotten first."""

from __future__ import annotations

from collections import OrderedDict

from anyclaude_lab.prompt.lane import LaneState

LANES = 512  # of a few hundred bytes each; a forgotten lane decides again, to the same end


class Lanes:
    """The state of each lane by its key."""

    def __init__(self, limit: int = LANES) -> None:
        self._limit = limit
        self._states: OrderedDict[str, LaneState] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def get(self, lane: str) -> LaneState | None:
        """What the lane decided; None where it is new or forgotten."""
        if lane in self._states:
            self._states.move_to_end(lane)
        return self._states.get(lane)

    def keep(self, lane: str, state: LaneState) -> None:
        """Remember it as the most recently used."""
        self._states[lane] = state
        self._states.move_to_end(lane)
        if len(self._states) > self._limit:
            self._states.popitem(last=False)
