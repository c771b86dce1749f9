"""Interleaved measurements of two servers, and how sure they are."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.engine.serving import Messages, Server
from benchmarks.results import Number

LEAST_PAIRS = 4
ENOUGH = 0.05  # half-width of the 95 % interval, as a share of the figure
# Student's t, two-sided 95 %, for 1 to 30 degrees of freedom.
T95 = (
    *(12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13),
    *(2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04),
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The geometric mean of positive figures, with its 95 % interval (Student's t on the logarithms)."""

    middle: float
    low: float
    high: float
    n: int
    unit: str = "x"

    @classmethod
    def of(cls, values: Sequence[float], unit: str = "x") -> Estimate:
        logs = [math.log(max(value, 1e-9)) for value in values]
        middle = statistics.fmean(logs)
        if len(logs) < 2:
            return cls(math.exp(middle), 0.0, math.inf, len(logs), unit)
        t = T95[min(len(logs) - 1, len(T95)) - 1]
        half = t * statistics.stdev(logs) / math.sqrt(len(logs))
        return cls(math.exp(middle), math.exp(middle - half), math.exp(middle + half), len(logs), unit)

    @property
    def half_width(self) -> float:
        """As a share of the figure."""
        return (self.high - self.low) / 2 / self.middle

    def told(self) -> str:
        unit = self.unit if self.unit == "x" else f" {self.unit}"
        return f"{self.middle:.3g}{unit} [{self.low:.3g}, {self.high:.3g}] ±{self.half_width:.0%} n={self.n}"

    def columns(self, name: str) -> dict[str, Number]:
        """For a file: the unit is in the names, unless it is a ratio."""
        name = name if self.unit == "x" else f"{name}_{self.unit}"
        high = self.high if math.isfinite(self.high) else None
        return {name: self.middle, f"{name}_low": self.low, f"{name}_high": high, f"{name}_n": self.n}


@dataclass
class Bench:
    """The model, both servers, and how often everything is done: until it is sure enough, or for so long."""

    model: Path
    servers: tuple[Server, Server]
    pairs: int
    seconds: float
    tokens: Sequence[int]
    scratch: Path
    chosen: random.Random = field(default_factory=lambda: random.Random(0))
    rows: dict[str, dict[str, Number]] = field(default_factory=dict)

    def text(self, letters: int) -> str:
        """Nobody has seen it."""
        return "".join(self.chosen.choices("abcdefghijklmnopqrstuvwxyz     ", k=letters))

    def talk(self, tokens: int) -> Messages:
        return [{"role": "system", "content": self.text(tokens)}, {"role": "user", "content": "Begin."}]

    def tell(self, what: str, **columns: Estimate | Number) -> None:
        """Print a line, and keep it as a row."""
        print(f"{what:60s}" + "".join(f"  {name}: {_said(value)}" for name, value in columns.items()), flush=True)
        row: dict[str, Number] = {}
        for name, value in columns.items():
            row |= value.columns(name) if isinstance(value, Estimate) else {name: value}
        self.rows[what] = row

    def each(self, measure: Callable[[Server], float]) -> dict[str, list[float]]:
        """What `measure` finds for each server: ours, stock, stock, ours, ours, ... until both are sure."""
        found: dict[str, list[float]] = {server.name: [] for server in self.servers}
        for pair in self.rounds(lambda: list(found.values())):
            for server in self.servers if pair % 2 == 0 else reversed(self.servers):
                found[server.name].append(measure(server))
                server.settle()
        return found

    def rounds(self, found: Callable[[], list[list[float]]]) -> Iterator[int]:
        """Numbers of rounds, until every list of `found` is sure, the pairs are done, or the time is up."""
        deadline = time.monotonic() + self.seconds
        for number in range(self.pairs):
            late = time.monotonic() > deadline and number >= 2
            if late or (number >= LEAST_PAIRS and all(Estimate.of(v).half_width <= ENOUGH for v in found())):
                return
            yield number


def ratio(found: dict[str, list[float]]) -> Estimate:
    """Ours by stock, pair by pair."""
    return Estimate.of([one / other for one, other in zip(found["ours"], found["stock"], strict=True)])


def estimates(found: dict[str, list[float]], unit: str = "x") -> dict[str, Estimate]:
    """Of each server."""
    return {name: Estimate.of(values, unit) for name, values in found.items()}


def _said(value: Estimate | Number) -> str:
    if isinstance(value, Estimate):
        return value.told()
    return f"{value:.3g}" if isinstance(value, float) else str(value)
