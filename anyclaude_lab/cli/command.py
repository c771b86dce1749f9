"""What one word behind `anyclaude-bench` is, and how its flags are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from anyclaude_lab.errors import SettingsError

OK, GATE_FAILED, USAGE_ERROR, INSUFFICIENT, BACKEND_ERROR = 0, 1, 2, 3, 4
STOPPED = 130  # what shells say of a program that Ctrl-C ended


@dataclass(frozen=True, slots=True)
class Command:
    """One word behind `anyclaude-bench`. `run` takes the words after it and returns the exit code."""

    name: str
    arguments: str
    doc: str
    example: str
    run: Callable[[Sequence[str]], int]


class Flags(argparse.ArgumentParser):
    """argparse as this program speaks: no abbreviations, and a mistake is one sentence and exit code 2."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"anyclaude-bench {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{self.prog}: {message}. See {self.prog} --help.")
