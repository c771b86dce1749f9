"""Computed prefixes on disk: the heads of sessions, so that the first request after a start is warm too.

One folder for each model, in it two files for each prefix:

    <hash of the tokens>.safetensors    the layers' state
    <hash of the tokens>.json           what it is: format, tokens, size and SHA-256 of the first; written last

Both are renamed into place, so that processes sharing the folder see them whole or not at all. A file is read only if
its digest is right; what is broken or of another format is removed. The least recently used go when all models'
prefixes together outgrow the cap.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from anyclaude_lab.engine.serve.prefixes import Tokens

FORMAT = "anyclaude-prefix-1"
FREE_BYTES = 1 << 30  # left free on the disk, whatever the cap
ABANDONED_S = 3600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Card:
    """What the small file says about the large one."""

    tokens: int
    digest: str  # of the token ids
    size_bytes: int
    sha256: str  # of the large file
    format: str = FORMAT

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None where there is no card, or none of ours."""
        try:
            value = json.loads(path.read_bytes())
            card = cls(**value)
            numbers = isinstance(card.tokens, int) and isinstance(card.size_bytes, int) and card.tokens > 0
            return card if card.format == FORMAT and numbers and card.digest == path.stem else None
        except (OSError, ValueError, TypeError):
            return None


@dataclass(slots=True)
class PrefixFolder:
    """The prefixes of one model below `root`. Methods raise nothing but what `write` and `read` given to them raise.

    Any thread may call; two at once do no harm.
    """

    root: Path
    model: str
    cap_bytes: int
    removed_broken: int = 0
    refused: str | None = None  # why the last prefix was not written
    _cards: dict[str, Card] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.root / self.model

    def find(self, prompt: Tokens) -> Card | None:
        """The longest prefix of `prompt` on disk that leaves at least one token to compute."""
        cards = {card.digest: card for card in self._present()}
        begun, done, found = hashlib.sha256(), 0, None
        for tokens in sorted({card.tokens for card in cards.values() if card.tokens < len(prompt)}):
            begun.update(prompt.packed[4 * done : 4 * tokens])
            done, found = tokens, cards.get(_name(begun)) or found
        return found

    def newest(self) -> Iterator[Card]:
        """All of them, the most recently used first."""
        yield from sorted(self._present(), key=lambda card: _mtime(self._data(card.digest)), reverse=True)

    def has(self, prefix: Tokens) -> bool:
        return (self.folder / f"{digest(prefix)}.json").exists()

    def read(self, card: Card, read: Callable[[Path], Any]) -> Any:
        """What `read` makes of the large file; None, and the prefix is removed, where it is not what was written."""
        path = self._data(card.digest)
        try:
            with path.open("rb") as file:
                true = hashlib.file_digest(file, "sha256").hexdigest() == card.sha256
            if true:
                value = read(path)
                path.touch()
                return value
        except FileNotFoundError:
            return None  # another process gave it up
        except Exception:  # noqa: S110 - whatever the reader dislikes, the file is of no use
            pass
        self.removed_broken += 1
        self._remove(card.digest)
        return None

    def write(self, prefix: Tokens, write: Callable[[Path], object], estimate_bytes: int) -> bool:
        """Keep what `write` writes; False, with the reason in `refused`, where the disk or the cap has no room."""
        self.refused = self._no_room(estimate_bytes)
        if self.refused:
            return self._refuse(self.refused)
        scratch = self.folder / f"{uuid.uuid4().hex}.tmp.safetensors"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(scratch)
            self._commit(scratch, prefix)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            return self._refuse(f"{self.folder} cannot be written: {error}")
        finally:
            for path in (scratch, scratch.with_suffix(".json")):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        self.trim()
        return True

    def _refuse(self, reason: str) -> bool:
        self.refused = reason
        log.warning("a prefix was not written to disk: %s", reason)
        return False

    def _commit(self, scratch: Path, prefix: Tokens) -> None:
        """Give both files their names, the card last."""
        with scratch.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        card = Card(len(prefix), digest(prefix), scratch.stat().st_size, sha256)
        note = scratch.with_suffix(".json")
        note.write_text(json.dumps(asdict(card)))
        for path in (scratch, note):
            path.chmod(0o600)
        scratch.replace(self._data(card.digest))
        note.replace(self.folder / f"{card.digest}.json")

    def trim(self) -> None:
        """Give up the least recently used prefixes of any model until the rest is below the cap."""
        files = [(_mtime(path), _size(path), path) for path in self.root.glob("*/*.safetensors") if _is_ours(path)]
        excess = sum(size for _, size, _ in files) - self.cap_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            excess -= size

    def clean(self) -> None:
        """Remove what a killed process left half written, cards that are none of ours, and files without a card."""
        if not self.folder.is_dir():
            return
        for path in list(self.folder.iterdir()):
            if _is_ours(path) and path.suffix == ".json" and Card.read(path) is None:
                self.removed_broken += 1
                self._remove(path.stem)
            elif _abandoned(path):
                path.unlink(missing_ok=True)
        self.trim()

    @property
    def size_bytes(self) -> int:
        """Of this model's prefixes."""
        return sum(card.size_bytes for card in self._present())

    def __len__(self) -> int:
        return len(self._present())

    def _present(self) -> list[Card]:
        """The cards that lie there now; another process may have added or removed some."""
        try:
            names = {path.stem for path in self.folder.iterdir() if path.suffix == ".json" and _is_ours(path)}
        except OSError:
            names = set()
        for name in self._cards.keys() - names:
            del self._cards[name]
        for name in names - self._cards.keys():
            if card := Card.read(self.folder / f"{name}.json"):
                self._cards[name] = card
        return list(self._cards.values())

    def _no_room(self, estimate_bytes: int) -> str | None:
        if estimate_bytes > self.cap_bytes:
            return f"a prefix of {estimate_bytes} bytes is larger than the cap of {self.cap_bytes}"
        existing = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        with contextlib.suppress(OSError):
            if shutil.disk_usage(existing).free - estimate_bytes < FREE_BYTES:
                return f"the disk of {self.root} is nearly full"
        return None

    def _data(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _remove(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        self._data(name).unlink(missing_ok=True)
        self._cards.pop(name, None)


def digest(prefix: Tokens) -> str:
    """40 hex digits that name a prefix."""
    return _name(hashlib.sha256(prefix.packed))


def _name(hashed: hashlib._Hash) -> str:
    return hashed.hexdigest()[:40]


def _is_ours(path: Path) -> bool:
    return len(path.stem) == 40 and all(letter in "0123456789abcdef" for letter in path.stem)


def _abandoned(path: Path) -> bool:
    """Half written, or without a card, and nobody is at it any more."""
    lonely = _is_ours(path) and path.suffix == ".safetensors" and not path.with_suffix(".json").exists()
    return (lonely or ".tmp" in path.name) and time.time() - _mtime(path) > ABANDONED_S


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
