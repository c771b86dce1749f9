"""Events to the complete message they spell, and a message to events: `fold(unfold(m)) == m`.

The message is the body of a non-streaming `POST /v1/messages`. Fields and block types that a
later API adds are carried.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from anyclaude_lab.wire.events import Event, JsonObject, block_delta, block_start, block_stop, json_delta, message_stop

# delta type -> (its field, the block's field it is a piece of)
_PIECES = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking")}


def fold(events: Iterable[Event]) -> JsonObject:
    """The message as far as the events tell it; `{}` without a `message_start`.

    Tool arguments that are no whole JSON object fold to `{}`: half of them must not look like all of them. How the
    stream ended is the decoder's word, not visible here.
    """
    message: JsonObject = {}
    block = _OpenBlock({})
    for event in events:
        data = event.data
        match event.type:
            case "message_start":
                message = dict(data["message"])
                message["content"] = list(message.get("content") or [])
            case "content_block_start":
                block = _OpenBlock(data["content_block"])
                message["content"].append(block.value)
            case "content_block_delta":
                block.add(data["delta"])
            case "content_block_stop":
                block.finish()
            case "message_delta":
                _amend(message, data)
    block.finish()
    return message


def unfold(message: JsonObject) -> list[Event]:
    """The stream that spells `message`: one delta per text, and `input: {}` followed by the arguments."""
    head: JsonObject = message | {"content": []}
    delta: JsonObject = {}
    for name in ("stop_reason", "stop_sequence"):
        if name in message:
            head[name], delta[name] = None, message[name]
    events = [Event("message_start", {"type": "message_start", "message": head})]
    for index, block in enumerate(message["content"]):
        events += _unfold_block(index, block)
    end: JsonObject = {"type": "message_delta", "delta": delta}
    if "usage" in message:
        end["usage"] = message["usage"]
    return [*events, Event("message_delta", end), message_stop()]


class _OpenBlock:
    """One content block while its pieces arrive; pieces are joined once, at its end."""

    def __init__(self, start: JsonObject) -> None:
        self.value = dict(start)
        self._pieces: dict[str, list[str]] = {}
        self._json: list[str] = []

    def add(self, delta: JsonObject) -> None:
        kind = delta.get("type")
        if kind in _PIECES:
            source, target = _PIECES[kind]
            self._pieces.setdefault(target, [self.value.get(target) or ""]).append(delta[source])
        elif kind == "input_json_delta":
            self._json.append(delta["partial_json"])
        elif kind == "citations_delta":
            self.value["citations"] = [*(self.value.get("citations") or []), delta["citation"]]
        else:  # signature_delta, compaction_delta, and what is to come: each field says the whole value
            self.value |= {name: value for name, value in delta.items() if name != "type"}

    def finish(self) -> None:
        for name, pieces in self._pieces.items():
            self.value[name] = "".join(pieces)
        if arguments := "".join(self._json):
            self.value["input"] = _json_object(arguments)
        self._pieces, self._json = {}, []


def _amend(message: JsonObject, data: JsonObject) -> None:
    """What `message_delta` adds. Its counts are totals; one it leaves out keeps the value of `message_start`."""
    message |= {name: value for name, value in data.items() if name not in ("type", "delta", "usage")}
    message |= data.get("delta") or {}
    if usage := {name: count for name, count in (data.get("usage") or {}).items() if count is not None}:
        message["usage"] = (message.get("usage") or {}) | usage


def _unfold_block(index: int, block: JsonObject) -> list[Event]:
    start = dict(block)
    deltas: list[JsonObject] = []
    for kind, (source, target) in _PIECES.items():
        if block.get("type") == target and isinstance(block.get(target), str):
            start[target] = ""
            if block[target]:
                deltas.append({"type": kind, source: block[target]})
    if block.get("type") == "text" and block.get("citations"):
        start["citations"] = []
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
    if block.get("type") == "thinking" and isinstance(block.get("signature"), str):
        start["signature"] = ""
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    events = [block_delta(index, delta) for delta in deltas]
    if str(block.get("type")).endswith("tool_use") and isinstance(block.get("input"), dict):
        start["input"] = {}
        if block["input"]:
            events.append(json_delta(index, json.dumps(block["input"], ensure_ascii=False, separators=(",", ":"))))
    return [block_start(index, start), *events, block_stop(index)]


def _json_object(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
