"""Run Claude Code on local or cheap models, and measure what that costs.

The notebook names are resolved on first use, so that importing the package (and starting the proxy) stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# name -> the module that has it
NAMES = {
    "Explanation": "anyclaude_lab.lab.explain",
    "Proxy": "anyclaude_lab.proxy.threaded",
    "Run": "anyclaude_lab.lab.run",
    "Traces": "anyclaude_lab.lab.load",
    "Turn": "anyclaude_lab.lab.turn",
    "Variant": "anyclaude_lab.lab.variant",
    "explain": "anyclaude_lab.lab.explain",
    "load": "anyclaude_lab.lab.load",
    "load_run": "anyclaude_lab.lab.run",
    "load_shapes": "anyclaude_lab.lab.shapes",
    "prices": "anyclaude_lab.lab.prices",
    "prefix_breaks": "anyclaude_lab.lab.prefixes",
    "query": "anyclaude_lab.lab.query",
    "replay": "anyclaude_lab.lab.replay",
    "replay_async": "anyclaude_lab.lab.replay",
    "shared_heads": "anyclaude_lab.lab.prefixes",
    "stub_ablation": "anyclaude_lab.lab.ablation",
    "tune": "anyclaude_lab.lab.tune",
    "variant": "anyclaude_lab.lab.variant",
}
MODULES = {"plots": "anyclaude_lab.lab.plots", "widgets": "anyclaude_lab.widgets"}
__all__ = sorted({*NAMES, *MODULES})


def __getattr__(name: str) -> Any:
    if name in MODULES or name in NAMES:
        from anyclaude_lab.errors import extras

        with extras():
            return import_module(MODULES[name]) if name in MODULES else getattr(import_module(NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES, *MODULES})
