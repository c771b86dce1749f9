"""The value of every key that won over those of weaker sources."""

from __future__ import annotations

from typing import Any

from anyclaude_lab.settings.sources import Layer, Rank, Value
from anyclaude_lab.settings.table import ROWS, TABLE


class Resolved:
    """The winning value of every key."""

    def __init__(self, layers: list[Layer]) -> None:
        self.values = {row.key: Value(_default(row.key), Rank.DEFAULT, "default") for row in TABLE}
        for layer in sorted(layers, key=lambda layer: layer.rank):
            self.values |= layer.values
        self.used: set[str] = set()

    def of(self, key: str) -> Value:
        """The value with its origin."""
        self.used.add(key)
        return self.values[key]

    def __call__(self, key: str) -> Any:
        return self.of(key).value


def _default(key: str) -> Any:
    row = ROWS[key]
    return None if row.default is None else row.kind.read(row.default)
