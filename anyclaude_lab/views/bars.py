"""Small bars as SVG: no script, no inline style, so that the strictest policy and a sanitised notebook show them."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude_lab.views.html import Html, joined, tag

Part = tuple[str, float]  # its class in style.css, its size


def stacked(parts: Sequence[Part], label: str, of: float | None = None) -> Html:
    """Parts side by side. `of` is the size of the whole bar; without it, the parts fill it."""
    whole = of or sum(size for _, size in parts)
    rects, at = [], 0.0
    for name, size in parts:
        width = 100 * size / whole if whole else 0.0
        if width > 0:
            rects.append(tag("rect", x=_short(at), y=0, width=_short(width), height=8, class_=name))
        at += width
    return _svg(joined(rects), label, "bar", "0 0 100 8")


def columns(shares: Sequence[tuple[str, float | None]], label: str, slots: int) -> Html:
    """One column for each (class, share of 1), the latest at the right of `slots` places.

    Behind each stands a whole one, so that what is missing is seen; None, unknown, is an empty frame.
    """
    rects = []
    for place, (name, share) in enumerate(shares[-slots:], start=slots - min(slots, len(shares))):
        height = 20 * min(1.0, share or 0.0)
        track = "unknown" if share is None else f"track {name}"
        rects.append(tag("rect", x=place * 5, y=0, width=4, height=20, class_=track))
        rects.append(tag("rect", x=place * 5, y=_short(20 - height), width=4, height=_short(height), class_=name))
    return _svg(joined(rects), label, "columns", f"0 0 {slots * 5 - 1} 20")


def _svg(inside: Html, label: str, kind: str, box: str) -> Html:
    return tag("svg", inside, class_=kind, viewBox=box, preserveAspectRatio="none", role="img", aria_label=label)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
