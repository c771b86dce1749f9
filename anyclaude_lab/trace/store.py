"""Writes traces in the background: bounded in memory and on disk, never in the way of a request.

One file for each session and day. An exchange, with the blobs that are new in it, is written by one append, so that a
process killed at any point leaves whole exchanges and at most one torn one; the next append starts on a new line.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from anyclaude_lab.trace.record import Encoder, Entry
from anyclaude_lab.trace.redaction import Redaction

FOLDER_CAP_BYTES = 2_000_000_000
QUEUE_CAP_BYTES = 128 * 1024 * 1024
CLOSE_S = 10.0
FILES_HELD = 64
OURS = re.compile(r"\d{4}-\d\d-\d\d-[A-Za-z0-9]{1,8}\.jsonl")  # nothing else in the folder is counted or removed


@dataclass(slots=True)
class Held:
    """What we know to be in a file we append to."""

    blobs: set[str] = field(default_factory=set)
    size_bytes: int = 0


class Recorder:
    """Takes finished exchanges with `put`, which returns at once, and appends them to the session's file.

    `on_drop` is called for every exchange that is not kept (the queue or the disk is full, the disk fails),
    `on_trouble` with one sentence when writing starts to fail. Raises OSError if the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        redaction: Redaction,
        *,
        on_drop: Callable[[], None] = lambda: None,
        on_trouble: Callable[[str], None] = lambda sentence: None,
        folder_cap_bytes: int = FOLDER_CAP_BYTES,
        queue_cap_bytes: int = QUEUE_CAP_BYTES,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._on_drop, self._on_trouble = on_drop, on_trouble
        self._folder_cap_bytes, self._queue_cap_bytes = folder_cap_bytes, queue_cap_bytes
        self._encoder = Encoder(redaction, epoch=time.monotonic())
        self._held: dict[Path, Held] = {}  # the files we write to; the one used last at the end
        self._queue: deque[Entry] = deque()
        self._queued_bytes = 0
        self._changed = threading.Condition()
        self._closing = self._failing = False
        self._writer = threading.Thread(target=self._write_all, name="trace-writer", daemon=True)
        self._writer.start()

    def put(self, entry: Entry) -> None:
        """Hand over one exchange; drops it where too much waits already."""
        with self._changed:
            full = bool(self._queue) and self._queued_bytes + entry.size_bytes > self._queue_cap_bytes
            if not (full or self._closing):
                self._queue.append(entry)
                self._queued_bytes += entry.size_bytes
                self._changed.notify()
                return
        self._on_drop()

    def close(self, within_s: float = CLOSE_S) -> None:
        """Write what waits, for at most `within_s` seconds. Blocks."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._writer.join(within_s)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                entry = self._queue[0]  # it counts until it is written
            self._write(entry)
            with self._changed:
                self._queue.popleft()
                self._queued_bytes -= entry.size_bytes

    def _write(self, entry: Entry) -> None:
        try:
            file = self.folder / file_name(entry)
            held = self._hold(file)
            data, fresh = self._encoder.lines(entry, held.blobs)
            if not held.size_bytes:
                data = self._encoder.start() + data
            self._make_room(file, len(data))
            held.size_bytes = append(file, data)
            held.blobs.update(fresh)
            self._held[file] = held
            self._failing = False
        except Exception as error:  # a defect in here must not end the thread, and never reaches a request
            self._on_drop()
            if not self._failing:
                self._failing = True
                reason = (error.strerror or str(error)) if isinstance(error, OSError) else repr(error)
                self._on_trouble(f"an exchange was not recorded in {self.folder}: {reason}; trying on with the next")

    def _hold(self, file: Path) -> Held:
        """What is known of `file`; it is put back once the next lines are in."""
        held = self._held.pop(file, None)
        if len(self._held) >= FILES_HELD:
            self._held.pop(next(iter(self._held)))
        replaced = held is not None and (not file.exists() or file.stat().st_size < held.size_bytes)
        return Held() if held is None or replaced else held

    def _make_room(self, file: Path, size_bytes: int) -> None:
        """Remove the oldest traces until `size_bytes` more fit under the cap."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = [(each, each.stat()) for each in self.folder.iterdir() if OURS.fullmatch(each.name)]
        total = sum(stat.st_size for _, stat in found) + size_bytes
        for old, stat in sorted(found, key=lambda each: each[1].st_mtime_ns):
            if total > self._folder_cap_bytes and old != file:
                old.unlink(missing_ok=True)
                total -= stat.st_size
        if total > self._folder_cap_bytes:
            raise OSError(f"this session alone fills the {self._folder_cap_bytes} bytes allowed to all traces")


def file_name(entry: Entry) -> str:
    """The day and the beginning of the session's id, harmless whatever the client sent."""
    session = re.sub(r"[^A-Za-z0-9]", "", entry.session)[:8] or "unnamed"
    return f"{time.strftime('%Y-%m-%d', time.gmtime(entry.at))}-{session}.jsonl"


def append(file: Path, data: bytes) -> int:
    """Append whole lines to a private file, on a line of their own; the size of the file afterwards."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(file, flags, 0o600)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end and os.lseek(descriptor, end - 1, os.SEEK_SET) >= 0 and os.read(descriptor, 1) != b"\n":
            data = b"\n" + data  # a writer died in the middle of its line
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
