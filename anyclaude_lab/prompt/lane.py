"""What is decided once for a conversation and kept for its lifetime."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from anyclaude_lab.wire.events import JsonObject


@dataclass(frozen=True, slots=True)
class LaneState:
    """The decisions of one lane; None is what nobody had to decide yet.

    Each is a pure function of the lane's first request, or of a history that only grows, so a state that is lost is
    decided again to the same bytes.
    """

    tier: str | None = None  # what `auto` chose
    deferred: tuple[str, ...] | None = None  # names of the tools that we defer
    trims: bool = False  # the client was told that its prompt is too long, and came back with no shorter one

    def as_json(self) -> JsonObject:
        """As it is stored with a recorded turn."""
        return asdict(self) | {"deferred": None if self.deferred is None else list(self.deferred)}

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """The state that `as_json` wrote; fields of another version are left out."""
        deferred = value.get("deferred")
        return cls(
            tier=value.get("tier"),
            deferred=tuple(map(str, deferred)) if isinstance(deferred, list) else None,
            trims=bool(value.get("trims")),
        )
