"""`--disk`: what is kept on disk, by size; `--prune SIZE`: the oldest of each kind go until it is below that size."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings import Settings
from anyclaude_lab.trace.store import OURS

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
PREFIX = re.compile(r"[0-9a-f]{40}\.safetensors")


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing that can be removed by itself: its files, their size, and when it was used last."""

    files: tuple[Path, ...]
    size_bytes: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Kind:
    """All of one sort, the oldest first."""

    name: str
    what: str
    folder: Path
    kept: list[Kept]

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.kept)

    def above(self, size_bytes: int) -> list[Kept]:
        """What has to go until the rest is no larger than that."""
        excess, gone = self.size_bytes - size_bytes, []
        for each in self.kept:
            if excess <= 0:
                break
            gone.append(each)
            excess -= each.size_bytes
        return gone


def show_or_prune(
    settings: Settings, state_folder: Path, *, prune: str | None, ask: Callable[[str], bool] | None, agreed: bool
) -> int:
    """Print what there is; with `prune` remove what is above it, once that was agreed to. Raises `SettingsError`."""
    limit_bytes = None if prune is None else size_of(prune)
    kinds = found(settings, state_folder)
    width = max(len(kind.name) for kind in kinds)
    for kind in kinds:
        print(f"{kind.name:<{width}}  {told(kind.size_bytes):>9}  {len(kind.kept):>5} {kind.what}  {kind.folder}")
    if limit_bytes is None:
        return 0
    gone = [each for kind in kinds for each in kind.above(limit_bytes)]
    if not gone:
        print(f"Nothing to remove: none of them is above {told(limit_bytes)}.")
        return 0
    what = f"{len(gone)} of them, {told(sum(each.size_bytes for each in gone))}, the oldest"
    if not agreed and ask is None:
        raise SettingsError(f"--prune {prune} removes {what}. To do it: anyclaude --disk --prune {prune} --yes")
    if not agreed and ask is not None and not ask(f"Remove {what}? [y/N] "):
        print("Nothing was removed.")
        return 0
    for file in (file for each in gone for file in each.files):
        file.unlink(missing_ok=True)
    print(f"Removed {what}.")
    return 0


def found(settings: Settings, state_folder: Path) -> list[Kind]:
    """Prefixes of our engine, logs, recorded sessions. Nothing else in those folders is looked at."""
    prefixes, logs = state_folder / "prefixes", state_folder / "logs"
    traces = settings.record_dir or state_folder / "traces"
    return [
        Kind("prefixes", "computed heads", prefixes, _kept(prefixes, "*/*.safetensors", PREFIX)),
        Kind("logs", "files", logs, _kept(logs, "*.log*", None)),
        Kind("traces", "sessions", traces, _kept(traces, "*.jsonl", OURS)),
    ]


def size_of(text: str) -> int:
    """`500MB`, `2 GB`, `0` in bytes. Raises `SettingsError`."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f'--prune needs a size such as 500MB or 2GB; found "{text}".')
    return int(float(match[1]) * 1000 ** POWERS[match[2].lower()])


def told(size_bytes: float) -> str:
    """`1.5 GB`, `20 KB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit in ("B", "KB") else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def _kept(folder: Path, pattern: str, name: re.Pattern[str] | None) -> list[Kept]:
    kept = []
    for file in folder.glob(pattern):
        if file.is_file() and not file.is_symlink() and (name is None or name.fullmatch(file.name)):
            card = file.with_suffix(".json")
            # The card goes first: a prefix without one is as good as gone.
            files = (card, file) if card.is_file() and file.suffix == ".safetensors" else (file,)
            kept.append(Kept(files, sum(each.stat().st_size for each in files), file.stat().st_mtime))
    return sorted(kept, key=lambda each: each.used_at)
