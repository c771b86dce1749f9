"""`CompareRuns`: the variants of one run or of several by savings, speed and fidelity."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude_lab.lab.frames import records
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.together import together
from anyclaude_lab.views.comparison import Comparison
from anyclaude_lab.views.html import Html
from anyclaude_lab.widgets.shell import Pieces, Shell, dropdown


class CompareRuns(Shell):
    """Figures with their intervals and a Pareto front. `run` has all that is compared; `baseline`, `across`: the knobs.

    Raises SettingsError for a baseline that is no variant.
    """

    def __init__(self, runs: Run | Sequence[Run], *, baseline: str | None = None) -> None:
        self.run = runs if isinstance(runs, Run) else together(runs)
        names = self.run.variants
        first = self.run.summary(baseline).attrs["baseline"]
        measures = [("prompt tokens left out", "saved"), ("time to first token", "ttft")]
        self.baseline = dropdown("Baseline", names, first, self._changed)
        self.across = dropdown("Fidelity over", measures, "saved", self._changed)
        self.pieces = Pieces()
        super().__init__([self.baseline, self.across], self.pieces)
        self._changed()

    def shown(self) -> Html:
        return self.comparison.html()

    def said(self) -> str:
        return f"{', '.join(self.run.variants)}; baseline {self.baseline.value}"

    def _changed(self) -> None:
        rows = records(self.run.summary(self.baseline.value))
        self.comparison = Comparison(rows, self.baseline.value, self.across.value)
        self.pieces.html = self.shown()
