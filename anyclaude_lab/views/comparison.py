"""Variants side by side: what each saves, how fast and how true it is, with intervals, and which are dominated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from anyclaude_lab.views.charts import Axis, Dot, Group, Point, axis, scatter, strips
from anyclaude_lab.views.figures import UNKNOWN, percent, seconds, whole
from anyclaude_lab.views.html import Child, Html, tag
from anyclaude_lab.views.notebook import Heading, card, note, table
from anyclaude_lab.views.page import badge
from anyclaude_lab.wire.events import JsonObject

Across = Literal["saved", "ttft"]
HEADINGS: tuple[Heading, ...] = (
    ("Variant", None), ("Turns", "n"), ("Errors", "n"), ("Prompt tokens", "n"), ("Left out", "n"),
    ("TTFT, median", "n"), ("TTFT ratio", "n"), ("Fidelity", "n"), ("Agreement", "n"), ("Behaviour", None),
)  # fmt: skip
VERDICTS = {"preserved": "good", "worse": "bad", "baseline": ""}
# What is measured against the baseline: column of the summary, the beginning of its bounds, the baseline's own value.
MEASURES: dict[Across, tuple[str, str, float]] = {
    "saved": ("saved_ratio", "saved", 0.0),
    "ttft": ("ttft_ratio", "ttft", 1.0),
}
TOO_FEW = "insufficient, fewer than 30 paired turns with calls or 5 sessions"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`rows` are those of `run.summary(baseline)`; `across` is what the picture has fidelity over."""

    rows: Sequence[JsonObject]
    baseline: str
    across: Across = "saved"

    def html(self) -> Html:
        """The card."""
        n = max((row["n_turns"] for row in self.rows), default=0)
        weak = [row["variant"] for row in self.rows if row.get("insufficient")]
        return card(
            f"{len(self.rows)} variants against {self.baseline}",
            table(HEADINGS, [self._row(row) for row in self.rows], "Variants"),
            note(f"{TOO_FEW}: {', '.join(weak)}") if weak else None,
            self._picture(),
            self._strips("saved"),
            self._strips("ttft"),
            self._fidelity(),
            aside=f"{n} turns each; intervals are 95 %, by session",
        )

    def value(self, row: JsonObject, measure: Across) -> float | None:
        """A variant's figure against the baseline; the baseline's own is what nothing saves."""
        column, _, own = MEASURES[measure]
        value: float | None = own if row["variant"] == self.baseline else row.get(column)
        return value

    def _axis(self, measure: Across) -> Axis:
        values = [self.value(row, measure) for row in self.rows]
        if measure == "saved":
            return axis(f"prompt tokens left out against {self.baseline}", "share", values)
        bounds = [row.get(f"ttft_{end}") for row in self.rows for end in ("low", "high")]
        return axis(f"time to first token, of that of {self.baseline}", "ratio", [*values, *bounds])

    def _picture(self) -> Html:
        points = [
            Point(
                row["variant"], self.value(row, self.across), row["fidelity"], row["fidelity_low"],
                row["fidelity_high"], row["n_turns"], bool(row["insufficient"]),
            )
            for row in self.rows
        ]  # fmt: skip
        y = axis("fidelity", "score", [], high=1.0)
        title = {"saved": "Savings and fidelity", "ttft": "Speed and fidelity"}[self.across]
        return scatter(
            f"Pareto front: {title.lower()}", points, self._axis(self.across), y, less_is_better=self.across == "ttft"
        )

    def _strips(self, measure: Across) -> Html:
        _, bounds, _ = MEASURES[measure]
        dots = [
            Dot(
                row["variant"], self.value(row, measure), row.get(f"{bounds}_low"), row.get(f"{bounds}_high"),
                row["n_turns"], bool(row["insufficient"]),
            )
            for row in self.rows if row["variant"] != self.baseline
        ]  # fmt: skip
        title = {"saved": "Savings", "ttft": "Speed"}[measure]
        return strips(title, [Group("", dots)], self._axis(measure))

    def _fidelity(self) -> Html:
        dots = [
            Dot(
                row["variant"], row["fidelity"], row["fidelity_low"], row["fidelity_high"], row["n_turns"],
                bool(row["insufficient"]),
            )
            for row in self.rows
        ]  # fmt: skip
        return strips("Fidelity", [Group("", dots)], axis("agreement with the recorded answers", "score", [], high=1.0))

    def _row(self, row: JsonObject) -> Sequence[Child]:
        verdict, errors = str(row.get("verdict") or UNKNOWN), row.get("n_errors") or 0
        return (
            tag("b", str(row["variant"])),
            whole(row.get("n_turns")),
            tag("b", whole(errors), class_="problem") if errors else "0",
            whole(row.get("prompt_tokens_mean")),
            _between(row, "saved_ratio", "saved", share=True),
            seconds(row.get("ttft_median_s")),
            _between(row, "ttft_ratio", "ttft"),
            _between(row, "fidelity", "fidelity"),
            UNKNOWN if row.get("agreement") is None else f"{row['agreement']:.2f}",
            badge(VERDICTS.get(verdict, "warn"), verdict),
        )


def _between(row: JsonObject, column: str, bounds: str, *, share: bool = False) -> Child:
    """A figure and its interval."""
    value, low, high = (
        None if one is None else percent(one, 1.0) if share else f"{one:.2f}"
        for one in (row.get(column), row.get(f"{bounds}_low"), row.get(f"{bounds}_high"))
    )
    return (value or UNKNOWN, tag("small", f"{low} to {high}") if low and high else None)
