"""What the stream decoder asks of a parser of tool calls that a model wrote as text.

The parsers themselves belong to the model families (`anyclaude_lab.models`) and are handed in, never imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from anyclaude_lab.wire.events import JsonObject


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Ordinary text the user should see."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """One complete tool call found in the text. `arguments_json` is a JSON object as text."""

    name: str
    arguments_json: str


Piece = TextPiece | CallPiece


class ToolTextParser(Protocol):
    """Incremental: the pieces do not depend on how the text was cut; the work is linear in its length."""

    def feed(self, text: str) -> list[Piece]:
        """The pieces that `text` settles; what may still become a call is held back."""
        ...

    def passes(self, text: str) -> bool:
        """Whether all of `text` is text, as nearly every piece is; then it counts as fed, and nothing came before."""
        ...

    def alarms(self) -> str | None:
        """Characters without which a text passes; None where no text does."""
        ...

    def close(self) -> list[Piece]:
        """The rest: an unfinished call comes out as the text it was."""
        ...


# tool name -> its JSON schema (original, as the client offered it); a parser recognises no other name
OfferedTools = Mapping[str, JsonObject]
ToolTextParserFactory = Callable[[OfferedTools], ToolTextParser]
