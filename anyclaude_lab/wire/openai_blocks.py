"""Writes the content blocks of one reply as events: indices without gaps, one block open at a time.

No block opens for blanks alone: an empty text block in the history is refused by Anthropic when a session later goes
back to the real Claude.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import orjson

from anyclaude_lab.wire.events import (
    Event,
    JsonObject,
    block_delta,
    block_start,
    block_stop,
    json_delta,
    thinking_delta,
)
from anyclaude_lab.wire.repeated import BACKSLASH

# Says that no model of Anthropic's wrote this thinking. Must never reach the real API, which would refuse it.
PLACEHOLDER_SIGNATURE = base64.b64encode(b"anyclaude: not signed by Anthropic").decode()

_TAIL = b'"}}\n\n'  # of a delta event, from the closing quote of its text on
_STARTS: dict[str, JsonObject] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


class BlockWriter:
    """Collects the events of one message between its start and its end."""

    def __init__(self, message_id: str) -> None:
        self.events: list[Event] = []
        self.open: str | None = None  # kind of the open block
        self.count = 0  # blocks begun
        self.chars = 0  # of everything the model wrote
        self._message_id = message_id
        self._blanks: list[str] = []  # blank text that may still be the beginning of a block
        self._blanks_kind = ""
        self._after_thinking = False
        self._head = self._seam = b""  # of a delta event of the open text block: up to the text, and from text to text

    def take(self) -> list[Event]:
        """The events since the last time."""
        events, self.events = self.events, []
        return events

    def text(self, text: str) -> None:
        """A piece of the answer."""
        if self.open != "text":
            text = self._begin("text", text)
        self.run(text, (text,), (orjson.dumps(text)[1:-1],))

    def run(self, text: str, texts: Sequence[str], insides: Sequence[bytes]) -> None:
        """Pieces of the answer, whose block is open, and which are `text` together; `insides` of the quotes."""
        if text:
            self.told(text, self.deltas(text, texts, insides))

    def deltas(self, text: str, texts: Sequence[str], insides: Sequence[bytes]) -> bytes:
        """Such pieces as they go on the wire. The hot path: they travel as they came."""
        self.chars += len(text)
        together = self._seam.join(insides if b"" not in insides else filter(None, insides))
        if BACKSLASH in together and (b"\\u" in together or b"\\/" in together):
            # Spelled as we would not, and bytes must not tell how they were cut.
            together = self._seam.join(orjson.dumps(piece)[1:-1] for piece in texts if piece)
        return self._head + together + _TAIL

    def told(self, text: str, raw: bytes) -> None:
        """One event for pieces that came together: `data` is that of one delta, the bytes are those of all."""
        delta = {"type": "text_delta", "text": text}
        data = {"type": "content_block_delta", "index": self.count - 1, "delta": delta}
        self.events.append(Event("content_block_delta", data, raw))

    def thinking(self, text: str) -> None:
        """A piece of visible reasoning."""
        if self.open != "thinking":
            text = self._begin("thinking", text)
        if text:
            self.chars += len(text)
            self.events.append(thinking_delta(self.count - 1, text))

    def start_tool(self, name: str) -> None:
        """Open a tool call. Its id is our own: backends repeat theirs from turn to turn, or have none."""
        self.close()
        digest = hashlib.sha256(f"{self._message_id}/{self.count}".encode()).hexdigest()[:24]
        self._open("tool_use", {"type": "tool_use", "id": f"toolu_{digest}", "name": name, "input": {}})

    def arguments(self, partial_json: str) -> None:
        """A piece of the open call's arguments."""
        if partial_json:
            self.chars += len(partial_json)
            self.events.append(json_delta(self.count - 1, partial_json))

    def close(self) -> None:
        """End the open block, if any; blanks that no text followed are forgotten."""
        self._blanks = []
        if self.open is None:
            return
        if self.open == "thinking":
            signature = {"type": "signature_delta", "signature": PLACEHOLDER_SIGNATURE}
            self.events.append(block_delta(self.count - 1, signature))
        self.events.append(block_stop(self.count - 1))
        self._after_thinking = self.open == "thinking"
        self.open = None

    def _begin(self, kind: str, text: str) -> str:
        """Open a block once there is something to see; answers what to write into it, or "" to wait."""
        if self._blanks_kind != kind:
            self._blanks, self._blanks_kind = [], kind
        if not text or text.isspace():
            self._blanks.append(text)
            return ""
        text = "".join(self._blanks) + text
        after_thinking = self.open == "thinking" or (self.open is None and self._after_thinking)
        self.close()
        self._open(kind, _STARTS[kind])
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"text_delta","text":"' % (self.count - 1)
        )
        self._seam = _TAIL + self._head
        return text.lstrip("\r\n") if kind == "text" and after_thinking else text

    def _open(self, kind: str, block: JsonObject) -> None:
        self._blanks = []
        self.events.append(block_start(self.count, dict(block)))
        self.open = kind
        self.count += 1
