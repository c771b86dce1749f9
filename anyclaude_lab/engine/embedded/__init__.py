"""The demonstration model that comes with the package: simple orders, so that the whole path can be tried offline.

See MODEL_CARD.md beside this file. It is no replacement for a real model.
"""

from __future__ import annotations

import pathlib


def folder() -> pathlib.Path:
    """The model's folder, as `mlx_lm.load` and `mlx_lm.server --model` take it."""
    return pathlib.Path(__file__).parent
