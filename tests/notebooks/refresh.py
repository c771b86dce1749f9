"""Runs the notebooks and writes their outputs into them: `python -m tests.notebooks.refresh [NAME...]`.

The files are the one source: edit them in Jupyter, or here and there, and run this. It leaves nothing in them that
changes from one run to the next but what a cell shows.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
CELL_DEADLINE_S = 240
# Names a model in a kernel that is gone; the HTML beside it stays.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def found(names: Sequence[str] = ()) -> list[Path]:
    """Every notebook, or those whose names begin so."""
    return [path for path in sorted(FOLDER.glob("*.ipynb")) if not names or path.name.startswith(tuple(names))]


def clean(book: Any) -> Any:
    """The same notebook with nothing in it that another run, program or machine would write differently."""
    book.metadata = METADATA
    for number, cell in enumerate(book.cells):
        cell.id, cell.metadata = f"cell-{number:02}", {}
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata = {}
            if "data" in output:
                output.data.pop(WIDGET_VIEW, None)
    return book


def written(book: Any) -> str:
    """The text of the file."""
    return f"{nbformat.writes(book)}\n"


def run(path: Path) -> float:
    """Execute one notebook in a home of its own; returns the seconds. Raises where a cell fails or warns."""
    book, began = nbformat.read(path, as_version=4), time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        client = NotebookClient(book, timeout=CELL_DEADLINE_S, kernel_name="python3")
        client.execute(cwd=str(path.parent), env=os.environ | {"HOME": home})
    for cell in book.cells:
        warned = [output.text for output in cell.get("outputs", ()) if output.get("name") == "stderr"]
        if warned:
            raise SystemExit(f"{path.name} writes to stderr: {warned[0]}")
    path.write_text(written(clean(book)), encoding="utf-8")
    return time.monotonic() - began


if __name__ == "__main__":
    for each in found(sys.argv[1:]):
        print(f"{each.name}: {run(each):.1f} s", flush=True)
