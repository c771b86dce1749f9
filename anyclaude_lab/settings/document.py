"""The table for people: docs/configuration.md, and every value with its origin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from anyclaude_lab.settings.kinds import Milliseconds
from anyclaude_lab.settings.resolved import Resolved
from anyclaude_lab.settings.rows.general import LEGACY_BLOCKS
from anyclaude_lab.settings.rows.row import Setting, Status
from anyclaude_lab.settings.sources import FILE_NAME
from anyclaude_lab.settings.table import TABLE

INTRODUCTION = f"""# Configuration

Flags win over environment variables, those over `{FILE_NAME}` in the current folder, that over the one in the home
folder, and that over the defaults. `--config FILE` reads that file in place of the two. `anyclaude-bench settings`
prints every value with where it comes from.

A wrong key or value is refused with the file, the key, what was found and what is allowed; the exit code is 2. Keys
that start with `//` are comments. Durations are milliseconds. In a variable, true is `true`, `1`, `yes` or `on`, false
is `false`, `0`, `no` or `off`, a list has commas between its entries, and an empty variable counts as unset. A relative
folder in a file starts at the file's own folder.

This page is generated from the rows in `anyclaude_lab/settings/rows/` by `make docs`.

## Where local answers come from

In mode `local`, the first that applies:

1. `baseUrl` (`LOCAL_URL`) is set: the server there is asked. A bare `http://host:port` gets `/v1` behind it.
2. `modelPath` (or, without an address, `--model`) is set and `autoStartServer` is not false: a server is started for
   that model, shared by every `anyclaude` that asks for the same, and ended with the last of them. Where `modelPath`
   and a `baseUrl` on this machine come from the same place, or `modelPath` from a stronger one, the server is started
   on the port of `baseUrl`.
3. Nothing is set: the small demonstration model that comes with the package answers. No address is assumed.

## Every setting

*works* · *accepted, no effect, warns* · *removed, says what instead*
"""

AFTERWORD = """
## Old names

`backend` may be called by its old names {old}; they mean `local`. A block
`backends.lmstudio` (or one of the others) is read as `backends.local` where that is missing. Both work with a
deprecation warning, as do the variables marked *(deprecated)*.

## Exit codes of `anyclaude`

| Code | Meaning |
|---|---|
| 0 | done; `--check-setup`: everything the mode needs is there |
| 2 | a wrong flag, variable, key or value |
| 4 | the backend does not answer; `--check-setup`, `--test-model`: something the mode needs is missing |
| other | Claude Code's own |
"""


NOTHING = "-"


def markdown() -> str:
    """docs/configuration.md."""
    head = ["| Key in the file | Variable, flag | Allowed | Default | Status | Meaning |", "|---|---|---|---|---|---|"]
    old = ", ".join(f"`{name}`" for name in LEGACY_BLOCKS)
    return "\n".join([INTRODUCTION, *head, *(_line(row) for row in TABLE), AFTERWORD.format(old=old)])


def _line(row: Setting) -> str:
    deprecated = [f"`{name}` *(deprecated)*" for name in row.old_env]
    off = [f"`{name}` *(true there is false here)*" for name in row.off_env]
    flags = [f"`{flag}`" for flag in (row.flag, row.off_flag) if flag]
    names = [*(f"`{name}`" for name in row.env), *deprecated, *off, *flags]
    meaning = row.doc if row.status is Status.WORKS else f"{row.doc} Instead: {row.instead}."
    cells = (
        f"`{row.key}`" if row.in_file else NOTHING,
        ", ".join(names) or NOTHING,
        row.kind.allowed,
        default_text(row, code="`"),
        row.status.value,
        meaning,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def default_text(row: Setting, code: str = "") -> str:
    """The default as one would write it in the file, or what happens where nothing is set."""
    if row.default is None:
        return row.unset or NOTHING
    unit = " ms" if isinstance(row.kind, Milliseconds) else ""
    return f"{code}{json.dumps(row.default)}{code}{unit}"


@dataclass(frozen=True, slots=True)
class Line:
    """One setting as it stands: `value` as text with keys hidden, `origin` where it is from."""

    key: str
    value: str
    origin: str


def listing(resolved: Resolved) -> Iterator[Line]:
    """Every setting that does something, in the order of the table."""
    for row in TABLE:
        value = resolved.values[row.key]
        if row.status is Status.WORKS:
            shown = f"({row.unset or 'not set'})" if value.value is None else row.kind.show(value.value)
            yield Line(row.key, shown, value.origin)
