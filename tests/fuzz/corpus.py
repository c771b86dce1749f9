"""Inputs that once reached code which no other reached, one a line, as Python writes bytes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def read(target: str) -> list[bytes]:
    """The inputs that are kept for a target; none where there is no file."""
    path = _path(target)
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [bytes(ast.literal_eval(line)) for line in lines]


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keep these, and no others."""
    FOLDER.mkdir(exist_ok=True)
    _path(target).write_text("".join(f"{data!r}\n" for data in sorted(set(inputs))), "ascii")


def _path(target: str) -> Path:
    return FOLDER / f"{target.replace(' ', '-')}.txt"
