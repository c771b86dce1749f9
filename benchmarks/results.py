"""What a question found: printed as a table, kept as a dated file, compared with the file before it."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "results"
Number = float | int | str | None


@dataclass(frozen=True, slots=True)
class Options:
    """How much is asked. `peers`: the folder that `python -m benchmarks.proxies install` made."""

    peers: Path | None = None
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures by name; units stand in the columns' names. `how` says what was done, `n` included."""

    rows: Mapping[str, Mapping[str, Number]]
    how: str
    facts: Mapping[str, Number] = field(default_factory=dict)


def show(name: str, question: str, table: Table) -> None:
    """The table for a terminal, and by how much each number differs from the newest kept result."""
    earlier = _newest(name)
    columns = list(dict.fromkeys(column for row in table.rows.values() for column in row))
    first = max(map(len, ["", *table.rows]))
    widths = [max(len(column), 9) + 2 for column in columns]
    print(f"\n{name}: {question}\n{table.how}")
    print(" " * first + "".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
    for label, row in table.rows.items():
        cells = [_said(row.get(column)) for column in columns]
        print(f"{label:{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    if earlier is not None:
        _compare(earlier, table)


def keep(name: str, question: str, table: Table) -> Path:
    """`results/DATE-NAME.json`; one of the same day is replaced."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{name}.json"
    told = {
        "question": question,
        "command": f"python -m benchmarks {name}",
        "commit": _commit(),
        "machine": machine(),
        "how": table.how,
        **table.facts,
        "figures": table.rows,
    }
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, Number]:
    """What may be said of a machine: no name, no path."""
    return {
        "cores": os.cpu_count(),
        "cpu": f"{platform.machine()} {_cpu_family()}".strip(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
    }


def _cpu_family() -> str:
    """Maker and line of the processor, without its model number."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(\w+(?:\(R\))? \w+)", info.read_text()) if info.is_file() else None
    return found[1] if found else platform.processor()


def _commit() -> str:
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain", "anyclaude_lab"], capture_output=True).stdout
    return head + ("+changes" if dirty else "")


def _newest(name: str) -> dict[str, object] | None:
    kept = sorted(FOLDER.glob(f"????-??-??-{name}.json"))
    found: dict[str, object] | None = json.loads(kept[-1].read_text()) if kept else None
    return found and found | {"date": kept[-1].name[:10]}


def _compare(earlier: dict[str, object], table: Table) -> None:
    before = earlier["figures"]
    assert isinstance(before, dict)
    print(f"against {earlier['date']} ({earlier['commit']}):")
    for label, row in table.rows.items():
        changes = []
        for column, now in row.items():
            old = before.get(label, {}).get(column)
            if isinstance(now, int | float) and isinstance(old, int | float) and old and abs(now / old - 1) >= 0.05:
                changes.append(f"{column} {_said(old)} -> {_said(now)} ({now / old - 1:+.0%})")
        print(f"  {label}: {', '.join(changes) or 'within 5 %'}")


def _said(value: Number) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value
