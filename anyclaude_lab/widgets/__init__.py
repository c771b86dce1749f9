"""Widgets for notebooks: knobs around the views. `lab.widgets.TierTuner(turn)` and its sisters.

Nothing is imported before a widget is asked for. Without a front end for widgets each shows the same facts as HTML.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from anyclaude_lab.errors import extras

# name -> the module that has it
NAMES = {
    "CompareRuns": "anyclaude_lab.widgets.compare",
    "LiveProxy": "anyclaude_lab.widgets.live",
    "PrefixDiff": "anyclaude_lab.widgets.prefix_diff",
    "TierTuner": "anyclaude_lab.widgets.tuner",
    "TraceViewer": "anyclaude_lab.widgets.viewer",
}
__all__ = sorted(NAMES)


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with extras():
        return getattr(import_module(NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES})
