"""A Messages-API request: its JSON body, kept whole, with the few readings everyone needs.

Lossless: `body` is the object as the client sent it, unknown fields included. It is never edited in place; a transform
returns `request.with_(field=value)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from anyclaude_lab.wire.events import JsonObject


@dataclass(frozen=True, slots=True)
class Request:
    """One `POST /v1/messages` body. Shape: docs.anthropic.com/en/api/messages."""

    body: JsonObject
    raw: bytes = field(
        default=b"", repr=False, compare=False
    )  # the exact bytes received; b"" when made or changed here

    def with_(self, **changes: Any) -> Request:
        """A copy with body fields replaced; a field set to None is removed."""
        body = {k: v for k, v in (self.body | changes).items() if k not in changes or changes[k] is not None}
        return Request(body)

    @property
    def model(self) -> str:
        """The model id the client asked for, as it spelled it."""
        return str(self.body["model"])

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def max_tokens(self) -> int:
        return int(self.body.get("max_tokens") or 0)

    @property
    def system(self) -> list[JsonObject]:
        """The system prompt as text blocks, whatever its spelling."""
        return as_blocks(self.body.get("system"))

    @property
    def messages(self) -> list[JsonObject]:
        return list(self.body.get("messages") or [])

    @property
    def tools(self) -> list[JsonObject]:
        return list(self.body.get("tools") or [])

    @property
    def thinking_wanted(self) -> bool:
        """Whether the client asked to see reasoning (`enabled` or `adaptive`)."""
        thinking = self.body.get("thinking")
        return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")

    def offered_tools(self) -> dict[str, JsonObject]:
        """Name -> input schema of every tool the client can run, deferred ones included, server tools not."""
        return {t["name"]: t.get("input_schema") or {"type": "object"} for t in self.tools if is_client_tool(t)}


def as_blocks(content: Any) -> list[JsonObject]:
    """Content in its one list spelling: a string is one text block, None is nothing."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content)


def text_of(content: Any) -> str:
    """The text of a content value, blocks joined by a blank line, in either spelling the same."""
    return "\n\n".join(b["text"] for b in as_blocks(content) if b.get("type") == "text" and b.get("text"))


def is_client_tool(tool: JsonObject) -> bool:
    """True for tools Claude Code runs itself: no `type`, or type `custom`; server tools are dated types."""
    return tool.get("type") in (None, "custom") and isinstance(tool.get("name"), str)


def blocks_of(request: Request, kind: str) -> Iterator[JsonObject]:
    """Every content block of one type in the messages, in order."""
    for message in request.messages:
        for block in as_blocks(message.get("content")):
            if block.get("type") == kind:
                yield block
