"""Run Claude Code on local or cheap models, and measure what that costs.

The notebook names are resolved on first use, so that importing the package (and starting the proxy) stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# name -> the module that has it
NAMES = {
    "Traces": "anyclaude_lab.lab.load",
    "load": "anyclaude_lab.lab.load",
}
__all__ = sorted(NAMES)


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return getattr(import_module(NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES})
