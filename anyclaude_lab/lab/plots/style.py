"""How every plot looks, and the one thing they all are: a picture whose text is its finding."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anyclaude_lab.errors import extras

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, PALE, LINE = "#222222", "#6b6b6b", "#d9d9d9"
WIDTH_IN, DPI = 8.0, 110  # 880 pixels: the width of a notebook's output
TITLE_CHARACTERS = 78
_LOOK: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 9.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eeeeee",
    "xtick.color": PALE,
    "ytick.color": PALE,
    "text.color": INK,
    "text.parse_math": False,
}


class Plot:
    """A picture. Its repr is its title, so that a checked notebook compares the finding. `figure` is matplotlib's."""

    def __init__(self, title: str, note: str, *, height_in: float = 3.4, panels: int = 1, **axes: Any) -> None:
        self.title, self.note = title, note
        with looks():
            self.figure: Figure = _figure()(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")
            made = self.figure.subplots(1, panels, **axes)
        self.axes: list[Axes] = [made] if panels == 1 else list(made)
        self.figure.suptitle(
            "\n".join(textwrap.wrap(title, TITLE_CHARACTERS)), x=0.01, ha="left", fontsize=11.5, fontweight="bold"
        )
        self.figure.supxlabel("\n".join(textwrap.wrap(note, 130)), x=0.99, ha="right", fontsize=8, color=PALE)

    def save(self, path: str, **options: Any) -> None:
        """Write a picture; its ending says which kind."""
        self._draw(path, **options)

    def _draw(self, target: Any, **options: Any) -> None:
        """Names of tools and variants are words: a `$` in one begins no formula."""
        from matplotlib.text import Text

        with looks():
            for text in self.figure.findobj(Text):
                text.set_parse_math(False)
            self.figure.savefig(target, **options)

    def __repr__(self) -> str:
        return f"<Plot: {self.title} ({self.note})>"

    def _repr_png_(self) -> bytes:
        return self._png

    @cached_property
    def _png(self) -> bytes:
        target = io.BytesIO()
        self._draw(target, format="png", metadata={"Software": None})
        return target.getvalue()


def looks() -> Any:
    """A block in which matplotlib draws in our style, whatever the notebook has set."""
    _figure()
    import matplotlib

    return matplotlib.rc_context({**matplotlib.rcParamsDefault, **_LOOK, "backend": matplotlib.rcParams["backend"]})


def key(axes: Any, *, right: bool = False) -> None:
    """Say which colour is which, above the picture, where it covers nothing."""
    place, at = ("lower right", (1, 1)) if right else ("lower left", (0, 1))
    axes.legend(
        ncols=4, loc=place, bbox_to_anchor=at, borderaxespad=0.2, frameon=False, handlelength=1.4, columnspacing=1.2
    )


def plain_log_scale(axis: Axis) -> None:
    """Seconds as 0.1, 1, 10 rather than as powers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axis: Axis) -> None:
    """No ticks between the numbers of requests."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def spread(count: int, width: float = 0.5) -> list[float]:
    """Offsets that put `count` marks side by side around one place."""
    return [0.0] if count == 1 else [width * (index / (count - 1) - 0.5) for index in range(count)]


def counted(turns: int, sessions: int) -> str:
    """How much a picture rests on."""
    return f"n = {turns} turn{'s' * (turns != 1)}, {sessions} session{'s' * (sessions != 1)}"


def percent(share: float) -> str:
    """A share as it is read."""
    return f"{share:.0%}" if 0.1 <= abs(share) <= 0.995 or share in (0, 1) else f"{share:.1%}"


def error_bars(
    values: Sequence[float | None], lows: Sequence[float | None], highs: Sequence[float | None]
) -> list[list[float]]:
    """Lengths below and above, as matplotlib wants them; none where an interval is not known."""
    below = [0.0 if v is None or low is None else max(0.0, v - low) for v, low in zip(values, lows, strict=True)]
    above = [0.0 if v is None or high is None else max(0.0, high - v) for v, high in zip(values, highs, strict=True)]
    return [below, above]


def _figure() -> type[Figure]:
    with extras():
        from matplotlib.figure import Figure
    return Figure
