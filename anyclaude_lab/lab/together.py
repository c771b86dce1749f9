"""Several runs as one, so that their variants can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.run import Run


def together(runs: Sequence[Run]) -> Run:
    """All variants of all runs. A name that an earlier run has gets the number of its run behind it.

    Raises SettingsError where there is no run.
    """
    if not runs:
        raise SettingsError("There is nothing to compare: give a run, or a list of them.")
    if len(runs) == 1:
        return runs[0]
    variants, cells, taken = [], [], set[str]()
    for number, run in enumerate(runs, 1):
        names = {name: f"{name} (run {number})" if name in taken else name for name in run.variants}
        taken |= set(names.values())
        variants += [variant | {"name": names[variant["name"]]} for variant in run.head["variants"]]
        cells += [cell | {"variant": names[cell["variant"]]} for cell in run.cells]
    complaints = [complaint for run in runs for complaint in run.complaints]
    return Run(runs[0].head | {"variants": variants}, cells, complaints)
