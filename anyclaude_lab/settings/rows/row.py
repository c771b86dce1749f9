"""What one setting is: a row of the table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from anyclaude_lab.settings.kinds import Kind


class Status(Enum):
    """What becomes of a setting."""

    WORKS = "works"
    NO_EFFECT = "accepted, no effect, warns"
    REMOVED = "removed, says what instead"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `default` is written as in the file; None there means unset, and `unset` says what happens then."""

    key: str
    kind: Kind
    doc: str
    default: Any = None
    unset: str = ""
    env: tuple[str, ...] = ()
    off_env: tuple[str, ...] = ()  # true there means false here
    old_env: tuple[str, ...] = ()  # work with a deprecation warning
    flag: str | None = None
    off_flag: str | None = None
    flag_value: str | None = None  # how `--help` calls the value
    flag_alone: object = None  # what the flag means without a value
    status: Status = Status.WORKS
    instead: str = ""  # for the two other states: what to do instead
    harmless: tuple[object, ...] = ()  # values that ask for what happens anyway: not warned about
    in_file: bool = True

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that sets it."""
        return self.env + self.off_env + self.old_env
