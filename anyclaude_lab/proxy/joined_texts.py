"""The events of an answer as a log may tell them: a text that came in pieces is one, and a key in it is seen whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from anyclaude_lab.wire.events import Event, JsonObject

_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


@dataclass(slots=True)
class _Text:
    """A text of an open block so far, and the event that began it."""

    first: JsonObject
    pieces: list[str] = field(default_factory=list)
    characters: int = 0

    def event(self) -> JsonObject:
        delta = self.first["delta"]
        return self.first | {"delta": delta | {_FIELDS[delta["type"]]: "".join(self.pieces)}}


class JoinedTexts:
    """What is being written, by request. Of a text longer than `most_characters` the end is not kept."""

    def __init__(self, most_characters: int) -> None:
        self._most = most_characters
        self._open: dict[str, dict[tuple[str, str], _Text]] = {}  # request -> (block, kind of delta) -> text

    def told(self, request_id: str, events: Iterable[Event]) -> Iterator[JsonObject]:
        """What may be told now: a text with its block's end, everything else as it comes."""
        texts = self._open.setdefault(request_id, {})
        for event in events:
            block, delta = str(event.data.get("index")), event.data.get("delta")
            if event.type == "content_block_delta" and isinstance(delta, dict) and delta.get("type") in _FIELDS:
                self._add(texts.setdefault((block, delta["type"]), _Text(event.data)), delta)
                continue
            if event.type == "content_block_stop":
                for ended in [key for key in texts if key[0] == block]:
                    yield texts.pop(ended).event()
            yield event.data

    def rest(self, request_id: str) -> Iterator[JsonObject]:
        """The answer is over: the texts whose block did not end."""
        for text in self._open.pop(request_id, {}).values():
            yield text.event()

    def _add(self, text: _Text, delta: JsonObject) -> None:
        if text.characters < self._most:
            text.pieces.append(str(delta.get(_FIELDS[delta["type"]], "")))
            text.characters += len(text.pieces[-1])
