"""Results on disk: `run.json` says what was compared, `cells.jsonl` has a line for each turn of each arm.

A cell's key is a hash of the recorded exchange, the variant and the repeat: a run can be taken up again, be divided
into shards, and be put together. Reading checks every line, as results come from other machines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from anyclaude_lab import __version__
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.variant import Variant
from anyclaude_lab.trace.read import Recorded
from anyclaude_lab.trace.store import append
from anyclaude_lab.wire.events import JsonObject

FORMAT, VERSION = "anyclaude-results", 1
HEAD, CELLS = "run.json", "cells.jsonl"
IDENTITY = {"key", "variant", "backend", "backend_kind", "session", "lane", "turn", "repeat"}


def cell_key(recorded: Recorded, variant: Variant, repeat: int) -> str:
    """24 hex digits, equal for the same question."""
    told = [recorded.data["request"]["stored_sha256"], recorded.data.get("request_id"), variant.fingerprint, repeat]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()[:24]


def head_of(variants: Sequence[Variant], **facts: object) -> JsonObject:
    """What a results folder says about itself."""
    told = {"format": FORMAT, "version": VERSION, "made_by": f"anyclaude-lab {__version__}"}
    return told | {"variants": [variant.as_json() for variant in variants]} | facts


def write_head(folder: Path, head: JsonObject) -> None:
    """Create the folder and its `run.json`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / HEAD).write_bytes(orjson.dumps(head, option=orjson.OPT_INDENT_2))


def add_cells(folder: Path, cells: Iterable[JsonObject]) -> None:
    """Append cells in one write."""
    data = b"".join(orjson.dumps(cell) + b"\n" for cell in cells)
    if data:
        append(folder / CELLS, data)


def read_results(folder: Path) -> tuple[JsonObject, list[JsonObject], list[str]]:
    """Head, cells (of equal keys the last), and a sentence for each line left out. Raises SettingsError."""
    try:
        head = orjson.loads((folder / HEAD).read_bytes())
        lines = (folder / CELLS).read_bytes().splitlines()
    except (OSError, orjson.JSONDecodeError):
        raise SettingsError(f"{folder} holds no results; give a folder that replay --out wrote.") from None
    known = isinstance(head, dict) and (head.get("format"), head.get("version")) == (FORMAT, VERSION)
    if not known or not head.get("variants"):
        raise SettingsError(f"{folder / HEAD} is not of the format {FORMAT}, version {VERSION}.")
    cells: dict[str, JsonObject] = {}
    complaints = []
    for number, raw in enumerate(lines, 1):
        try:
            cell = orjson.loads(raw)
            if not cell.keys() >= IDENTITY:
                raise TypeError
            cells[cell["key"]] = cell
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            complaints.append(f"{folder / CELLS}, line {number}: it is torn or no cell; it is left out.")
    return head, list(cells.values()), complaints


def combine(folders: Sequence[Path]) -> tuple[JsonObject, list[JsonObject], list[str]]:
    """The shards of one run put together. Raises SettingsError where they compare different things."""
    found = [read_results(folder) for folder in folders]
    first = found[0][0]
    for folder, (head, _, _) in zip(folders, found, strict=True):
        if head["variants"] != first["variants"]:
            raise SettingsError(
                f"{folder} compares other variants than {folders[0]}; only shards of one run fit together."
            )
    cells = {cell["key"]: cell for _, each, _ in found for cell in each}
    head = first | {"shard": None, "combined": len(folders)}
    return head, list(cells.values()), [complaint for _, _, told in found for complaint in told]
