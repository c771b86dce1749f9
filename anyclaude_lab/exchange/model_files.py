"""The tokenizer and chat template to count with: the model's own, else those of a relative that is on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anyclaude_lab.backends.model_folder import downloaded_models, model_folder
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.models.families import GENERIC, family_of
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.render.tokens import TokenCounter, characters, from_tokenizer_json
from anyclaude_lab.wire import json_text

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
    """What this machine has of a model that a server named, or of its family; None where it has neither.

    Looks only where models were downloaded to; nothing is fetched.
    """
    if own := model_folder(model_id):
        return FolderFiles(own, found=True)
    family = family_of(model_id)
    if family is GENERIC:
        return None
    for name, folder in downloaded_models():
        if family_of(name) is family and (folder / "tokenizer.json").is_file():
            return FolderFiles(folder, own=False, found=True)
    return None
