"""Recordings of other programs, turned into traces: redacted before anything is written, the source never changed.

A new kind is a module with `read(file, complain)` and a row in `KINDS`. Each gives exchanges as `Entry`; what it cannot
read it tells with file and line, and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from anyclaude_lab.settings import home_folder
from anyclaude_lab.trace.imports import claude_trace, har, raw_bodies, seed
from anyclaude_lab.trace.imports.exchange import Complain
from anyclaude_lab.trace.record import Encoder, Entry
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.store import append, file_name

Reader = Callable[[Path, Complain], Iterator[Entry]]
KINDS: dict[str, Reader] = {
    "seed": seed.read,
    "claude-trace": claude_trace.read,
    "har": har.read,
    "raw-bodies": raw_bodies.read,
}
SUFFIXES = {".har": "har", ".jsonl": "claude-trace", ".json": "seed"}


@dataclass(slots=True)
class Imported:
    """What an import made: files, how many exchanges, and a sentence for everything left out."""

    files: list[Path] = field(default_factory=list)
    exchanges: int = 0
    complaints: list[str] = field(default_factory=list)


def import_all(paths: list[Path], out: Path, redaction: Redaction | None = None) -> Imported:
    """Import files and folders into trace files below `out`, one for each session."""
    done = Imported()
    redaction = redaction or Redaction(os.urandom(16), home=str(home_folder()))
    for path in paths:
        for kind, source in _sources(path, done.complaints.append):
            _import(kind, source, out, redaction, done)
    return done


def _import(kind: str, source: Path, out: Path, redaction: Redaction, done: Imported) -> None:
    found: dict[Path, list[Entry]] = {}
    for entry in KINDS[kind](source, done.complaints.append):
        found.setdefault(out / file_name(entry), []).append(entry)
    for file, entries in found.items():
        entries.sort(key=lambda entry: entry.recording.started)
        encoder = Encoder(redaction, epoch=entries[0].recording.started, source=f"import:{kind}")
        held: set[str] = set()
        data = [encoder.start()]
        for entry in entries:
            lines, fresh = encoder.lines(entry, held)
            held.update(fresh)
            data.append(lines)
        out.mkdir(parents=True, exist_ok=True)
        append(file, b"".join(data))
        done.exchanges += len(entries)
        if file not in done.files:
            done.files.append(file)


def _sources(path: Path, complain: Complain) -> Iterator[tuple[str, Path]]:
    """(kind, file or folder) of everything at `path` that some reader takes."""
    if not path.exists():
        complain(f"There is no {path}.")
    elif path.is_file():
        kind = SUFFIXES.get(path.suffix)
        if kind is None:
            complain(f"{path}: nothing is known of {path.suffix or 'no suffix'}; known are {', '.join(SUFFIXES)}.")
        else:
            yield kind, path
    elif any(path.glob("*.request.json")):
        yield "raw-bodies", path
    else:
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.suffix in SUFFIXES:
                yield SUFFIXES[file.suffix], file
