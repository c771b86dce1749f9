"""Scales: where a number stands between the ends of a picture, and which numbers are written under it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from anyclaude_lab.views.figures import UNKNOWN, dollars, percent, seconds, whole
from anyclaude_lab.views.html import Html, joined, tag

Unit = Literal["share", "score", "ratio", "tokens", "seconds", "dollars"]
MARGIN = 2.0  # percent that is left at both ends, so that a mark there is whole
TICKS = 4


def _score(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def _ratio(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}×"  # noqa: RUF001  the sign, as in print


WRITTEN: Mapping[Unit, Callable[[float | None], str]] = {
    "share": lambda value: percent(value, 1.0),
    "score": _score,
    "ratio": _ratio,
    "tokens": whole,
    "seconds": seconds,
    "dollars": dollars,
}


@dataclass(frozen=True, slots=True)
class Axis:
    """What is measured, in which unit, and the range that is shown. Made by `axis`."""

    label: str
    unit: Unit
    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        """Percent of the way from the left end to the right one."""
        return MARGIN + (100 - 2 * MARGIN) * (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers from end to end."""
        return [self.low + number * self.step for number in range(round((self.high - self.low) / self.step) + 1)]

    def write(self, value: float | None) -> str:
        """The number with its unit; a dash where nobody knows it."""
        return WRITTEN[self.unit](value)

    def tick(self, value: float) -> str:
        """The number as short as the step allows."""
        if self.unit in ("score", "ratio"):
            return f"{value:.{max(0, -math.floor(math.log10(self.step) + 1e-9))}f}"
        if self.unit == "tokens" and value and self.high >= 10_000:
            return f"{value / 1e6:g}M" if self.high >= 1e6 else f"{value / 1000:g}K"
        return self.write(value) if value else "0"


def axis(
    label: str, unit: Unit, values: Iterable[float | None], *, low: float = 0.0, high: float | None = None
) -> Axis:
    """An axis with round ends that holds every value that is known, and `low` and `high` too."""
    known = [low, *(value for value in values if value is not None and math.isfinite(value))]
    known += [] if high is None else [high]
    least, most = min(known), max(known)
    if most == least:
        most = least + (abs(least) or 1.0)
    step = _step(most - least)
    first = math.floor(least / step + 1e-9) * step
    last = math.ceil(most / step - 1e-9) * step
    return Axis(label, unit, first, last, step)


def short(value: float) -> str:
    """A number for an attribute: two places, no zeros behind."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def place(value: float) -> str:
    """A percentage for an attribute."""
    return f"{short(value)}%"


def grid(scale: Axis, height: int) -> Html:
    """A thin line at every tick, the one at zero stronger."""
    lines = []
    for value in scale.ticks():
        at = place(scale.at(value))
        zero = abs(value) < scale.step / 2
        lines.append(tag("line", x1=at, x2=at, y1=0, y2=height, class_="zero" if zero else "grid"))
    return joined(lines)


def tick_labels(scale: Axis, y: int) -> Html:
    """The numbers at the ticks; those at the ends stay within the picture."""
    ticks = scale.ticks()
    texts = []
    for number, value in enumerate(ticks):
        end = "start" if number == 0 else "end" if number == len(ticks) - 1 else "middle"
        x = {"start": "0", "end": "100%", "middle": place(scale.at(value))}[end]
        texts.append(tag("text", scale.tick(value), x=x, y=y, text_anchor=end))
    return joined(texts)


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that about `TICKS` of them make the span."""
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    return next(power * factor for factor in (1, 2, 5, 10) if span <= power * factor * TICKS * 1.001)
