"""Every setting there is, as one table: what it is called, where it may stand, what it may be and what it does.

Reading files, variables and flags, the messages about wrong ones, `--help`, `anyclaude-bench settings` and
docs/configuration.md are all derived from these rows (`rows/`).
"""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude_lab.settings.rows.cluster import CLUSTER
from anyclaude_lab.settings.rows.general import GENERAL
from anyclaude_lab.settings.rows.local import LOCAL
from anyclaude_lab.settings.rows.remote import CLAUDE, OPENROUTER
from anyclaude_lab.settings.rows.row import Setting

TABLE: tuple[Setting, ...] = GENERAL + LOCAL + OPENROUTER + CLAUDE + CLUSTER
ROWS: dict[str, Setting] = {row.key: row for row in TABLE}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of the command line, with the rows that it sets."""

    name: str
    rows: tuple[Setting, ...]
    off: bool  # it is the `--no-` form

    @property
    def setting(self) -> str:
        """Its name in the mapping of flags: `filter_tier` for --filter-tier."""
        return str(self.rows[0].flag).removeprefix("--").replace("-", "_")


def _flags() -> dict[str, Flag]:
    found: dict[str, Flag] = {}
    for row in TABLE:
        for name, off in ((row.flag, False), (row.off_flag, True)):
            if name is not None:
                rows = found[name].rows if name in found else ()
                found[name] = Flag(name, (*rows, row), off)
    return found


FLAGS: dict[str, Flag] = _flags()
