"""The attribution block that Claude Code puts before its system prompt.

It is one text block, `x-anthropic-billing-header: cc_version=...; cc_entrypoint=...; ...;`, whose fields differ between
conversations and between main and subagents. In a rendered prompt it stands before everything else, so every new
conversation would miss a backend's prefix cache from its first tokens. The real API strips it; so do translating modes.
Passthrough must leave it alone.
"""

from __future__ import annotations

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

PREFIX = "x-anthropic-billing-header:"


def remove_billing(request: Request) -> Request:
    """The request without its attribution block, wherever in `system` it stands; the same object if there is none.

    Only `system` is looked at, and there only whole leading lines of the block's shape: a text that quotes the header
    stays as it is.
    """
    system = request.body.get("system")
    if isinstance(system, str):
        rest = _after_billing(system)
        return request if rest == system else request.with_(system=rest or None)
    if not isinstance(system, list):
        return request
    blocks = [block for block in map(_without_billing, system) if block is not None]
    return request if blocks == system else request.with_(system=blocks or None)


def _without_billing(block: JsonObject) -> JsonObject | None:
    """The block without leading billing lines; None when nothing else was in it."""
    text = block.get("text")
    if not isinstance(text, str) or PREFIX not in text:
        return block
    rest = _after_billing(text)
    if rest == text:
        return block
    return {**block, "text": rest} if rest else None


def _after_billing(text: str) -> str:
    """What follows the leading billing lines and the blank lines around them; the text itself if there are none."""
    rest = text
    while True:
        line, _, after = rest.lstrip().partition("\n")
        if not _is_billing(line):
            return rest
        rest = after.lstrip("\r\n")


def _is_billing(line: str) -> bool:
    """The header and nothing but `key=value;` fields, any number and any names."""
    line = line.strip()
    if not line.startswith(PREFIX):
        return False
    fields = [field.strip() for field in line.removeprefix(PREFIX).split(";")]
    return all(_is_field(field) for field in fields if field)


def _is_field(field: str) -> bool:
    key, equals, _ = field.partition("=")
    return bool(equals) and key.replace("_", "").replace("-", "").isalnum()
