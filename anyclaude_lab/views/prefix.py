"""Where a prompt stops being the one before it, by its parts: what makes a backend compute it anew."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from anyclaude_lab.prompt.billing import remove_billing
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks
from anyclaude_lab.wire.same import each, once

NAMES_SHOWN = 3
Digest = bytes


@dataclass(frozen=True, slots=True)
class Outline:
    """A prompt as digests of its parts, in the order in which they stand; of its words only tool names are kept."""

    tools: tuple[tuple[str, Digest], ...]
    system: tuple[Digest, ...]
    messages: tuple[Digest, ...]


def outline(request: Request) -> Outline:
    """The outline of a prompt as it is sent. Cache markers and the attribution block are no part of it."""
    request = remove_billing(request)
    return Outline(
        _tool_digests(request.body.get("tools") or []),
        _system_digests(request.body.get("system") or []),
        tuple(map(_message_digest, request.messages)),
    )


def first_change(before: Outline, after: Outline) -> str | None:
    """The first part of `before` that `after` does not continue, in words; None where it only grew."""
    if before.tools != after.tools:
        return _tool_change(dict(before.tools), dict(after.tools))
    if before.system != after.system:
        return f"the system prompt changed ({_place('part', before.system, after.system)})"
    if after.messages[: len(before.messages)] == before.messages:
        return None
    if len(after.messages) < len(before.messages):
        return f"the history was cut from {len(before.messages)} to {len(after.messages)} messages"
    return f"the history changed ({_place('message', before.messages, after.messages)})"


def _tool_change(before: dict[str, Digest], after: dict[str, Digest]) -> str:
    changes = {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
        "redefined": [name for name in after if name in before and before[name] != after[name]],
    }
    said = [f"{_named(names)} {how}" for how, names in changes.items() if names]
    return f"tools changed ({'; '.join(said) or 'another order'})"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _place(word: str, before: Sequence[Digest], after: Sequence[Digest]) -> str:
    pairs = enumerate(zip(before, after, strict=False), start=1)
    number = next((n for n, (old, new) in pairs if old != new), min(len(before), len(after)) + 1)
    return f"{word} {number} of {len(before)}"


@once
def _tool_digests(tools: list[JsonObject]) -> tuple[tuple[str, Digest], ...]:
    return tuple((str(tool.get("name")), _digest(tool)) for tool in tools if not tool.get("defer_loading"))


def _system_digests(system: str | list[JsonObject]) -> tuple[Digest, ...]:
    return _block_digests(system) if isinstance(system, list) else tuple(map(_digest, as_blocks(system)))


@once
def _block_digests(blocks: list[JsonObject]) -> tuple[Digest, ...]:
    return tuple(map(_digest, blocks))


@each
def _message_digest(message: JsonObject) -> Digest:
    return _digest([message.get("role"), *map(_unmarked, as_blocks(message.get("content")))])


def _unmarked(block: object) -> object:
    return {k: v for k, v in block.items() if k != "cache_control"} if isinstance(block, dict) else block


def _digest(value: object) -> Digest:
    return hashlib.blake2b(orjson.dumps(_unmarked(value), option=orjson.OPT_SORT_KEYS), digest_size=8).digest()
