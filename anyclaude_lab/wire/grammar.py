"""The legal order of a Messages stream, as tables.

Strict mode judges what we make: every rule. Witness mode judges what we relay: a later API may bring events, blocks and
deltas we do not know, so those pass; order, indices and the three legal ends are judged in both.

A stream ends legally in three ways only: `message_stop`; the connection cut with no terminal event; an `error` event.
Source: docs.anthropic.com/en/docs/build-with-claude/streaming, and the real client's reactions to faults.
"""

from __future__ import annotations

from enum import StrEnum

import orjson

from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, JsonObject


class Phase(StrEnum):
    """Where in the stream we are; the value is how a sentence names it."""

    NOTHING = "before message_start"
    BETWEEN = "while no block is open"
    IN_BLOCK = "while a block is open"
    ENDING = "after message_delta"
    STOPPED = "after message_stop"
    FAILED = "after error"


_ANY_TIME = frozenset({"ping", "error"})
LEGAL_NEXT: dict[Phase, frozenset[str]] = {
    Phase.NOTHING: frozenset({"message_start", "error"}),
    Phase.BETWEEN: frozenset({"content_block_start", "message_delta"}) | _ANY_TIME,
    Phase.IN_BLOCK: frozenset({"content_block_delta", "content_block_stop"}) | _ANY_TIME,
    Phase.ENDING: frozenset({"message_stop"}) | _ANY_TIME,
    Phase.STOPPED: frozenset(),
    Phase.FAILED: frozenset(),
}
# quirk(Anthropic): the documentation allows several message_delta events, and a ping may overtake message_start.
LEGAL_NEXT_WITNESSED = LEGAL_NEXT | {
    Phase.NOTHING: LEGAL_NEXT[Phase.NOTHING] | {"ping"},
    Phase.ENDING: LEGAL_NEXT[Phase.ENDING] | {"message_delta"},
}
EVENT_NAMES = frozenset().union(*LEGAL_NEXT.values())

_NO_DELTAS: frozenset[str] = frozenset()
DELTAS_OF: dict[str, frozenset[str]] = {
    "text": frozenset({"text_delta", "citations_delta"}),
    "thinking": frozenset({"thinking_delta", "signature_delta"}),
    "redacted_thinking": _NO_DELTAS,
    "tool_use": frozenset({"input_json_delta"}),
    "server_tool_use": frozenset({"input_json_delta"}),
    "mcp_tool_use": frozenset({"input_json_delta"}),
    "web_search_tool_result": _NO_DELTAS,
}
DELTA_NAMES = frozenset().union(*DELTAS_OF.values())

STOP_REASONS = frozenset(
    {
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "compaction",
        "refusal",
        "model_context_window_exceeded",
    }
)
# Only these may leave a tool call's JSON unfinished.
_CUTTING_REASONS = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})


class StreamGrammar:
    """Judge of one stream. `check` and `finish` answer None, or one sentence that names what is wrong.

    It goes on after a violation, so that one fault is reported once and not at every event behind it. Whether a tool
    call fits its schema is not known here.
    """

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict
        self._legal_next = LEGAL_NEXT if strict else LEGAL_NEXT_WITNESSED
        self._phase = Phase.NOTHING
        self._blocks = 0
        self._kind = ""  # of the open block
        self._name = ""  # of the open tool call
        self._json: list[str] = []  # arguments of the open tool call
        self._signed = False
        self._tool_ids: set[str] = set()
        self._called = False  # a call that the client is to run
        self._unfinished: str | None = None  # name of a tool call whose arguments are no JSON object

    def check(self, event: Event) -> str | None:
        """Take the next event; None if it is legal here."""
        kind = event.type
        if kind == "content_block_delta" and self._kind == "text" and self._phase is Phase.IN_BLOCK:
            data = event.data  # a piece of text for the open block, as nearly every event: nothing to look closer at
            try:
                if data["index"] == self._blocks - 1 and data["delta"]["type"] == "text_delta":
                    return None
            except (KeyError, TypeError):
                pass  # another piece, or none: said below
        if kind not in EVENT_NAMES:
            return f"unknown event {kind!r}" if self._strict else None
        if kind not in self._legal_next[self._phase]:
            wrong = f"{kind} {self._phase.value}"
            self._recover(event)
            return wrong
        if kind == "content_block_delta":
            return self._delta(event.data)
        if kind == "content_block_start":
            return self._start(event.data)
        if kind == "content_block_stop":
            return self._stop(event.data)
        if kind == "message_delta":
            return self._message_delta(event.data)
        if kind == "message_start":
            self._phase = Phase.BETWEEN
            return _wrong_message(event.data) if self._strict else None
        if kind == "message_stop":
            self._phase = Phase.STOPPED
        elif kind == "error":
            self._phase = Phase.FAILED
            return _wrong_error(event.data)
        return None

    def finish(self, ending: Ending) -> str | None:
        """Judge how the stream ended, once no more events come."""
        if ending is Ending.OPEN:
            return "the stream was left open: neither finished nor cut"
        if ending is Ending.COMPLETE and self._phase is not Phase.STOPPED:
            return f"said to be complete {self._phase.value}, without message_stop"
        if ending is Ending.ERROR and self._phase is not Phase.FAILED:
            return f"said to have failed {self._phase.value}, without an error event"
        if ending is Ending.CUT and self._phase in (Phase.STOPPED, Phase.FAILED):
            return f"said to be cut {self._phase.value}, which already ended it"
        return None

    def _recover(self, event: Event) -> None:
        """After an event out of order: go where it seems to lead."""
        if self._phase in (Phase.STOPPED, Phase.FAILED):
            return
        if event.type == "content_block_start":
            self._start(event.data)
        elif event.type == "message_delta":
            self._phase = Phase.ENDING
        elif event.type == "message_stop":
            self._phase = Phase.STOPPED
        elif event.type == "content_block_stop":
            self._phase = Phase.BETWEEN

    def _start(self, data: JsonObject) -> str | None:
        index, expected = data.get("index"), self._blocks
        block = data.get("content_block")
        self._phase = Phase.IN_BLOCK
        self._blocks = index + 1 if isinstance(index, int) else expected + 1
        block = block if isinstance(block, dict) else {}
        self._kind, self._name = str(block.get("type", "")), str(block.get("name", ""))
        self._json, self._signed = [], False
        if index != expected:
            return f"content_block_start has index {index!r}; the next one is {expected}"
        if not self._kind:
            return f"block {index} has no type"
        return self._wrong_start(block) if self._strict else None

    def _wrong_start(self, block: JsonObject) -> str | None:
        kind, index = self._kind, self._blocks - 1
        if kind not in DELTAS_OF:
            return f"unknown block type {kind!r}"
        for text_field in ("text", "thinking"):
            if kind == text_field and block.get(text_field) != "":
                return f"{kind} block {index} does not start empty"
        if "input_json_delta" in DELTAS_OF[kind]:
            if block.get("input") != {}:
                return f"{kind} block {index} does not start with input {{}}"
            if not block.get("name") or not block.get("id"):
                return f"{kind} block {index} has no name or no id"
            if block["id"] in self._tool_ids:
                return f"{kind} block {index} repeats the id {block['id']}"
            self._tool_ids.add(block["id"])
        return None

    def _delta(self, data: JsonObject) -> str | None:
        index, open_index = data.get("index"), self._blocks - 1
        if index != open_index:
            return f"content_block_delta for block {index!r} while block {open_index} is open"
        delta = data.get("delta")
        kind = delta.get("type") if isinstance(delta, dict) else None
        if not isinstance(delta, dict) or not isinstance(kind, str):
            return f"content_block_delta for block {index} has no type"
        fitting = DELTAS_OF.get(self._kind)
        if not self._strict:
            known = fitting is not None and kind in DELTA_NAMES
            return f"{kind} in a {self._kind} block" if known and fitting and kind not in fitting else None
        if fitting is None or kind not in fitting:
            return f"{kind} in a {self._kind} block"
        if kind == "input_json_delta":
            self._json.append(str(delta.get("partial_json", "")))
        elif kind == "signature_delta":
            self._signed = True
        elif kind == "thinking_delta" and self._signed:
            return f"thinking_delta after the signature of block {index}"
        return None

    def _stop(self, data: JsonObject) -> str | None:
        index, open_index = data.get("index"), self._blocks - 1
        self._phase = Phase.BETWEEN
        if index != open_index:
            return f"content_block_stop for block {index!r} while block {open_index} is open"
        if not self._strict:
            return None
        if self._kind == "thinking" and not self._signed:
            return f"thinking block {index} stops without a signature"
        self._called = self._called or self._kind == "tool_use"
        if self._json and not _is_json_object("".join(self._json)):
            self._unfinished = self._name
        return None

    def _message_delta(self, data: JsonObject) -> str | None:
        self._phase = Phase.ENDING
        delta = data.get("delta")
        if not isinstance(delta, dict):
            return "message_delta has no delta"
        return self._wrong_end(delta, data.get("usage")) if self._strict else None

    def _wrong_end(self, delta: JsonObject, usage: object) -> str | None:
        reason = delta.get("stop_reason")
        if reason not in STOP_REASONS:
            return f"stop_reason {reason!r}; one of {', '.join(sorted(STOP_REASONS))} is legal"
        if not isinstance(usage, dict) or not isinstance(usage.get("output_tokens"), int):
            return "message_delta has no usage.output_tokens"
        if reason == "tool_use" and not self._called:
            return "stop_reason tool_use without a tool call"
        if reason == "end_turn" and self._called:
            return "stop_reason end_turn after a tool call; the client would not run it"
        if self._unfinished is not None and reason not in _CUTTING_REASONS:
            return f"the arguments of {self._unfinished} are no JSON object, yet the message ended with {reason}"
        return None


def _wrong_message(data: JsonObject) -> str | None:
    message = data.get("message")
    if not isinstance(message, dict):
        return "message_start has no message"
    for name, legal in (("type", "message"), ("role", "assistant"), ("content", []), ("stop_reason", None)):
        if name not in message or message[name] != legal:
            return f"message_start has {name} {message.get(name)!r} instead of {legal!r}"
    for name in ("id", "model"):
        if not isinstance(message.get(name), str) or not message[name]:
            return f"message_start has no {name}"
    return None if isinstance(message.get("usage"), dict) else "message_start has no usage"


def _wrong_error(data: JsonObject) -> str | None:
    inner = data.get("error")
    if (
        not isinstance(inner, dict)
        or not isinstance(inner.get("type"), str)
        or not isinstance(inner.get("message"), str)
    ):
        return "error event without error.type and error.message"
    return None


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
