"""The tokenizer and chat template to count with: the model's own, else those of a relative that is on this machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anyclaude_lab.backends.model_folder import downloaded_models, model_folder
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.models.families import GENERIC, family_of
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.render.tokens import TokenCounter, VocabularyCounter, characters, from_tokenizer_json
from anyclaude_lab.wire import json_text

# tiktoken's vocabularies that are worth counting with: the file in its cache, and the SHA-256 by which it knows it.
VOCABULARIES = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}
FAMILY_METHOD = "family tokenizer"


class ModelFiles(Protocol):
    """Tokenizer and chat template of the model that answers."""

    @property
    def counter(self) -> TokenCounter: ...

    @property
    def template(self) -> ChatTemplate | None: ...


class FolderFiles:
    """Read from a model folder at the first count.

    `own` is False for a relative's, whose counts are a guess. In a folder that nobody named, only `found`, what cannot
    be read is passed over; else it raises SettingsError.
    """

    def __init__(self, folder: Path, *, own: bool = True, found: bool = False) -> None:
        self._folder, self._own, self._found = folder, own, found
        self._counter: TokenCounter | None = None
        self._template: ChatTemplate | None = None

    @property
    def counter(self) -> TokenCounter:
        if self._counter is None:
            self._read()
        assert self._counter is not None
        return self._counter

    @property
    def template(self) -> ChatTemplate | None:
        if self._counter is None:
            self._read()
        return self._template

    def _read(self) -> None:
        config = self._folder / "tokenizer_config.json"
        written = self._folder / "chat_template.jinja"
        facts = json_text.loads(config.read_bytes()) if config.is_file() else {}
        text = written.read_text("utf-8") if written.is_file() else None
        if isinstance(facts, dict):
            self._template = ChatTemplate.from_tokenizer_config(facts, template_file=text)
        self._counter = self._read_counter()

    def _read_counter(self) -> TokenCounter:
        tokenizer = self._folder / "tokenizer.json"
        if not tokenizer.is_file():
            return characters()
        try:
            counter = from_tokenizer_json(tokenizer.read_bytes())
        except SettingsError:
            if not self._found:
                raise
            return characters()
        return counter if self._own else Relative(counter)


@dataclass(frozen=True, slots=True)
class Relative:
    """The tokenizer of another model of the family: near, and corrected by what the backend reports."""

    base: TokenCounter
    method: str = FAMILY_METHOD
    exact: bool = False

    def count(self, text: str) -> int:
        return self.base.count(text)

    def count_pieces(self, pieces: list[str]) -> int:
        return self.base.count_pieces(pieces)


def files_for(model_id: str) -> ModelFiles | None:
    """What this machine has of a model that a server named, of its family, or of tiktoken's; None where it has nothing.

    Looks only where models were downloaded to, and where `TIKTOKEN_CACHE_DIR` points; nothing is fetched.
    """
    if own := model_folder(model_id):
        return FolderFiles(own, found=True)
    family = family_of(model_id)
    for name, folder in downloaded_models() if family is not GENERIC else ():
        if family_of(name) is family and (folder / "tokenizer.json").is_file():
            return FolderFiles(folder, own=False, found=True)
    return _vocabulary()


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """A tokenizer of tiktoken's, and no template."""

    counter: TokenCounter
    template: ChatTemplate | None = None


def _vocabulary() -> _Vocabulary | None:
    """The newest that lies in tiktoken's cache, if it is installed. It would fetch one that is missing or spoilt."""
    cache = os.environ.get("TIKTOKEN_CACHE_DIR")
    for name, (file, digest) in VOCABULARIES.items() if cache else ():
        path = Path(cache or "", file)
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            try:
                import tiktoken
            except ImportError:
                return None
            return _Vocabulary(VocabularyCounter(tiktoken.get_encoding(name)))
    return None
