"""Intervals and verdicts that respect that turns of one session are not independent.

Seeded bootstrap over sessions (percentile, 2,000 draws). Below 30 turns or 5 sessions a figure is `insufficient`: it is
shown, and decides nothing. Source: Miller, "Adding error bars to evals", arXiv 2411.00640.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

DRAWS, SEED = 2000, 0
LEAST_TURNS, LEAST_CLUSTERS = 30, 5
MARGIN = 0.05
Verdict = Literal["preserved", "not shown", "worse", "insufficient"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% interval, and what it rests on. None where nothing is known."""

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int

    @property
    def insufficient(self) -> bool:
        """Too little to decide anything."""
        return self.n < LEAST_TURNS or self.clusters < LEAST_CLUSTERS

    def __str__(self) -> str:
        if self.estimate is None:
            return "unknown"
        text = f"{self.estimate:.3f}"
        if self.low is not None and self.high is not None:
            text += f" [{self.low:.3f}, {self.high:.3f}]"
        return text + (" insufficient" if self.insufficient else "")


def bootstrap_mean(values: Sequence[float | None], clusters: Sequence[str]) -> Interval:
    """The mean of what is known, with an interval by session."""
    known = [(value, 1.0, cluster) for value, cluster in zip(values, clusters, strict=True) if value is not None]
    return bootstrap_ratio([v for v, _, _ in known], [one for _, one, _ in known], [c for _, _, c in known])


def bootstrap_ratio(
    numerators: Sequence[float], denominators: Sequence[float], clusters: Sequence[str], *, seed: int = SEED
) -> Interval:
    """The ratio of sums, with an interval by session."""
    names = sorted(set(clusters))
    place = {name: index for index, name in enumerate(names)}
    sums = np.zeros((len(names), 2))
    for top, bottom, cluster in zip(numerators, denominators, clusters, strict=True):
        sums[place[cluster]] += (top, bottom)
    top, bottom = sums.sum(axis=0) if len(names) else (0.0, 0.0)
    n = len(numerators)
    if not bottom:
        return Interval(None, None, None, n, len(names))
    low, high = _percentiles(sums, seed) if len(names) > 1 else (None, None)
    return Interval(float(top / bottom), low, high, n, len(names))


def geometric_speedup(cold_s: Sequence[float], warm_s: Sequence[float], clusters: Sequence[str]) -> Interval:
    """Geometric mean of paired cold/warm times, with an interval by session on the logarithms."""
    logs = [math.log(cold / warm) for cold, warm in zip(cold_s, warm_s, strict=True)]
    found = bootstrap_mean(logs, clusters)
    estimate, low, high = (None if x is None else math.exp(x) for x in (found.estimate, found.low, found.high))
    return Interval(estimate, low, high, found.n, found.clusters)


def non_inferior(differences: Sequence[float | None], clusters: Sequence[str], margin: float = MARGIN) -> Verdict:
    """Whether a candidate is not worse than its baseline by more than `margin`; differences are candidate - baseline.

    "preserved" needs the interval's lower bound above -margin; a difference that is merely not significant is no proof.
    """
    found = bootstrap_mean(differences, clusters)
    if found.insufficient or found.low is None or found.high is None:
        return "insufficient"
    if found.low > -margin:
        return "preserved"
    return "worse" if found.high < -margin else "not shown"


def pass_hat_k(successes: int, trials: int, k: int) -> float | None:
    """The chance that k tries drawn from `trials` all succeed: C(s, k) / C(n, k); None for fewer tries than k."""
    return math.comb(successes, k) / math.comb(trials, k) if 0 < k <= trials else None


def _percentiles(sums: npt.NDArray[np.float64], seed: int) -> tuple[float | None, float | None]:
    draws = np.random.default_rng(seed).integers(0, len(sums), size=(DRAWS, len(sums)))
    totals = sums[draws].sum(axis=1)
    ratios = totals[totals[:, 1] != 0]
    if not len(ratios):
        return None, None
    low, high = np.percentile(ratios[:, 0] / ratios[:, 1], [2.5, 97.5])
    return float(low), float(high)
