"""What a way of answering saves against a baseline, turn by turn.

Rendered tokens (room in the window) and uncached ones (prefill work) are two savings, never blended. The baseline is
the unfiltered request as the same backend renders it, never the count of another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude_lab.lab.metrics.statistics import Interval, bootstrap_ratio


@dataclass(frozen=True, slots=True)
class Saving:
    """Tokens of `baseline - candidate`: their sum, the ratio of sums, and the median of the turns' own ratios."""

    saved_tokens: int
    saved_ratio: Interval
    median_ratio: float | None


def saving(baseline: Sequence[int | None], candidate: Sequence[int | None], clusters: Sequence[str]) -> Saving:
    """Over the turns where both are known. `clusters`: the session of each turn."""
    known = [
        (b, b - c, cluster)
        for b, c, cluster in zip(baseline, candidate, clusters, strict=True)
        if b is not None and c is not None
    ]
    ratios = sorted(saved / base for base, saved, _ in known if base)
    middle = len(ratios) // 2
    median = None if not ratios else (ratios[middle] + ratios[-middle - 1]) / 2
    interval = bootstrap_ratio([s for _, s, _ in known], [b for b, _, _ in known], [c for _, _, c in known])
    return Saving(sum(s for _, s, _ in known), interval, median)
