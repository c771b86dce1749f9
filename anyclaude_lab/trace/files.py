"""The lines of trace files, wherever they lie: plain, gzip, or in a zip; never more than a bound."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from anyclaude_lab.errors import AnyclaudeError

MAX_LINE_BYTES = 256 * 1024 * 1024
FREE_BYTES, MAX_RATIO = 64 * 1024 * 1024, 200  # a packed file may swell to the first, and then by the second
SUFFIXES = (".jsonl", ".jsonl.gz", ".zip")


class DamagedTrace(AnyclaudeError):
    """A file that cannot be read as a trace at all."""


@dataclass(frozen=True, slots=True)
class Source:
    """One trace file. `name` is what people are told; `member` is its name in the zip at `path`."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        return f"{self.path}!{self.member}" if self.member else str(self.path)

    @property
    def stem(self) -> str:
        """The file's name without folders and suffixes."""
        return PurePosixPath(self.member or self.path.name).name.partition(".")[0]


def sources(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> tuple[list[Source], list[str]]:
    """The trace files at `path` (a file, a zip, or a folder, searched), and a sentence for each that is left out.

    Raises DamagedTrace where there is nothing at `path`.
    """
    if not path.exists():
        raise DamagedTrace(f"There is no {path}; give a trace file or a folder of them.")
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(suffixes)) if path.is_dir() else [path]
    found: list[Source] = []
    complaints: list[str] = []
    for file in files:
        if file.suffix != ".zip":
            found.append(Source(file))
            continue
        try:
            for member in _members(file):
                if _harmless(member):
                    found.append(Source(file, member))
                else:
                    complaints.append(f"{file}: the name {member!r} leads out of the archive; it is left out.")
        except (zipfile.BadZipFile, OSError) as error:
            complaints.append(f"{file}: it cannot be read as a zip ({error}).")
    return found, complaints


def numbered_lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line with its end). A line of more than `MAX_LINE_BYTES` is cut there, and is the last.

    Raises DamagedTrace where the file cannot be read, or swells beyond reason.
    """
    read_bytes = 0
    try:
        with _opened(source) as (stream, allowed_bytes):
            for number, raw in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), 1):
                read_bytes += len(raw)
                if allowed_bytes is not None and read_bytes > allowed_bytes:
                    raise DamagedTrace(f"{source.name}, line {number}: the packed file swells to more than it may.")
                yield number, raw
                if len(raw) > MAX_LINE_BYTES:
                    return  # where the next line starts is not worth reading on for
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DamagedTrace(f"{source.name} cannot be read: {reason}.") from None


@contextmanager
def _opened(source: Source) -> Iterator[tuple[IO[bytes], int | None]]:
    """The stream, and how many bytes may come out of it (None: as many as it has)."""
    if source.member is not None:
        with zipfile.ZipFile(source.path) as archive, archive.open(source.member) as stream:
            info = archive.getinfo(source.member)
            yield stream, FREE_BYTES + MAX_RATIO * info.compress_size
    elif source.path.suffix == ".gz":
        with gzip.open(source.path) as packed:
            yield packed, FREE_BYTES + MAX_RATIO * source.path.stat().st_size  # type: ignore[misc]  # a file of bytes
    else:
        with source.path.open("rb") as stream:
            yield stream, None


def _members(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        return sorted(info.filename for info in archive.infolist() if info.filename.endswith(".jsonl"))


def _harmless(member: str) -> bool:
    path = PurePosixPath(member.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
