"""How large the three sections of a request are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from anyclaude_lab.render.tokens import characters
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks
from anyclaude_lab.wire.same import once

TextCount = Callable[[str], int]  # tokens of a text
CHARACTERS: TextCount = characters().count  # the guess that needs no tokenizer, and so is the same at any time


@dataclass(frozen=True, slots=True)
class Sections:
    """Sizes in whatever was counted, tokens or characters; what a template writes between blocks is not in them."""

    system: int
    tools: int
    messages: int

    @property
    def total(self) -> int:
        return self.system + self.tools + self.messages


def measured(request: Request, count: TextCount, *, since: tuple[Request, Sections] | None = None) -> Sections:
    """The sections of `request`: system texts, definitions as JSON, texts and JSON of the messages' blocks.

    What it shares with an earlier request whose sections are known (`since`) is not counted again.
    """
    earlier, known = since or (None, Sections(0, 0, 0))

    def same(field: str) -> bool:
        return earlier is not None and request.body.get(field) is earlier.body.get(field)

    return Sections(
        known.system if same("system") else _system_size(request.body.get("system") or [], count),
        known.tools if same("tools") else _tools_size(request.body.get("tools") or [], count),
        known.messages if same("messages") else sum(message_size(message, count) for message in request.messages),
    )


def _system_size(system: str | list[JsonObject], count: TextCount) -> int:
    return _blocks_size(system, count) if isinstance(system, list) else count(system)


@once
def _blocks_size(blocks: list[JsonObject], count: TextCount) -> int:
    return sum(count(str(block.get("text") or "")) for block in blocks)


@once
def _tools_size(tools: list[JsonObject], count: TextCount) -> int:
    return sum(count(as_json(tool)) for tool in tools)


def message_size(message: JsonObject, count: TextCount) -> int:
    """A message's blocks."""
    return sum(count(_text_of_block(block)) for block in as_blocks(message.get("content")))


def as_json(value: object) -> str:
    """JSON text as it is counted."""
    return orjson.dumps(value).decode()


def _text_of_block(block: JsonObject) -> str:
    """Its text; a result's is that of its parts, whatever their spelling; JSON of everything else."""
    if block.get("type") == "tool_result":
        return "\n".join(_text_of_block(part) for part in as_blocks(block.get("content")))
    return str(block["text"]) if block.get("type") == "text" and "text" in block else as_json(block)
