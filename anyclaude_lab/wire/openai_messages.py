"""A Messages-API conversation as a list of chat messages.

The law: the messages of request k are a prefix of the messages of request k+1, byte for byte, whatever spelling the
client chose for the same content. So every message is a function of the history up to the next assistant turn.
Between two assistant turns the order is fixed: tool messages first, in the order of the calls, then images that tools
returned, then everything else as it came.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_content import PARAGRAPH, Part, arguments_text, joined, parts_of, text_of_block
from anyclaude_lab.wire.openai_dialect import Dialect
from anyclaude_lab.wire.request import Request, as_blocks, text_of
from anyclaude_lab.wire.same import each
from anyclaude_lab.wire.tool_names import ToolNames

INTERRUPTED = "[The call was interrupted: there is no result.]"
NO_OUTPUT = "(no output)"
_REMINDER = "system-reminder"
_MAX_ID_CHARS = 64
_REFUSED_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def chat_messages(request: Request, dialect: Dialect, names: ToolNames) -> list[JsonObject]:
    """System prompt, then the conversation."""
    history = _History(dialect, names)
    if system := request.system_text:
        history.messages.append({"role": "system", "content": system})
    for message in request.messages:
        history.add(message)
    history.settle()
    messages = one_call_each(history.messages, dialect) if dialect.one_call_per_message else history.messages
    return alternating(messages) if dialect.alternating_roles else messages


def reminder(text: str) -> str:
    """Text of the system inside a user message, in the tag Claude Code itself uses for it."""
    return text if text.lstrip().startswith(f"<{_REMINDER}>") else f"<{_REMINDER}>\n{text}\n</{_REMINDER}>"


def call_id(client_id: str, dialect: Dialect) -> str:
    """The backend's spelling of a tool call's id: a function of the id alone, so that history stays the same."""
    if dialect.call_ids == "nine":
        if len(client_id) == 9 and client_id.isascii() and client_id.isalnum():
            return client_id
        return _digest(client_id, 9)
    legal = _REFUSED_IN_IDS.sub("_", client_id)
    if legal == client_id and 0 < len(legal) <= _MAX_ID_CHARS:
        return legal
    return f"{legal[:40]}_{_digest(client_id, 20)}"


def alternating(messages: list[JsonObject]) -> list[JsonObject]:
    """For templates that want user and assistant in turn: neighbours of one role become one message.

    User text behind a tool result joins that result, for such a template counts it as a second user turn.
    """
    result: list[JsonObject] = []
    for message in messages:
        last = result[-1] if result else None
        if last is None or message["role"] not in ("user", "assistant"):
            result.append(message)
        elif last["role"] == message["role"]:
            result[-1] = _merged(last, message)
        elif last["role"] == "tool" and message["role"] == "user":
            result[-1] = last | {"content": last["content"] + PARAGRAPH + _only_text(message["content"])}
        else:
            result.append(message)
    return result


def one_call_each(messages: list[JsonObject], dialect: Dialect) -> list[JsonObject]:
    """For templates that take one call in a message: calls made at once follow each other, each with its result."""
    result: list[JsonObject] = []
    waiting: dict[str, JsonObject] = {}  # the messages of further calls, by the id that their results carry
    for message in messages:
        if message["role"] == "tool" and message["tool_call_id"] in waiting:
            result.append(waiting.pop(message["tool_call_id"]))
        calls = message.get("tool_calls") or []
        if len(calls) > 1:
            further = {"role": "assistant", "content": dialect.call_content}
            waiting = {call["id"]: {**further, "tool_calls": [call]} for call in calls[1:]}
            message = {**message, "tool_calls": calls[:1]}
        result.append(message)
    return result


def _merged(first: JsonObject, second: JsonObject) -> JsonObject:
    parts = [*_as_parts(first.get("content")), *_as_parts(second.get("content"))]
    return first | second | {"content": joined(parts) or second.get("content")}


def _as_parts(content: Any) -> list[Part]:
    if isinstance(content, list):
        return [part["text"] if part["type"] == "text" else part for part in content]
    return [content] if content else []


def _only_text(content: Any) -> str:
    return PARAGRAPH.join(
        part if isinstance(part, str) else "[image: cannot be shown here]" for part in _as_parts(content)
    )


def _digest(text: str, chars: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(digits)


class _History:
    """Collects what stands between two assistant turns, then writes it in the one legal order."""

    def __init__(self, dialect: Dialect, names: ToolNames) -> None:
        self.messages: list[JsonObject] = []
        self._dialect = dialect
        self._names = names
        self._seen_ids: Counter[str] = Counter()
        self._calls: list[tuple[str, str]] = []  # client's and backend's id of the calls of the last assistant turn
        self._results: dict[str, list[_Result]] = {}
        self._rest: list[JsonObject] = []

    def add(self, message: JsonObject) -> None:
        role, content = message.get("role"), message.get("content")
        if role == "assistant":
            self.settle()
            self._assistant(message)
        elif role == "system":
            if text := text_of(content):
                self._rest.append(self._mid_system(text))
        else:
            self._user(message)

    def settle(self) -> None:
        """Write the turn that ends here. Every call gets exactly one tool message."""
        images: list[Part] = []
        for client_id, backend_id in self._calls:
            found = self._results.get(client_id)
            parts = found.pop(0).parts if found else [INTERRUPTED]
            texts = [part for part in parts if isinstance(part, str)]
            shown = [part for part in parts if not isinstance(part, str)]
            content = PARAGRAPH.join(texts) or ("[image: shown below]" if shown else NO_OUTPUT)
            self.messages.append({"role": "tool", "tool_call_id": backend_id, "content": content})
            images += shown
        orphans: list[Part] = [_orphan(result.block) for results in self._results.values() for result in results]
        if images or orphans:
            self.messages.append({"role": "user", "content": joined([*images, *orphans])})
        self.messages += self._rest
        self._calls, self._results, self._rest = [], {}, []

    def _user(self, message: JsonObject) -> None:
        heard = _heard(message, self._dialect.images)
        for result in heard.results:
            self._results.setdefault(str(result.block.get("tool_use_id")), []).append(result)
        if heard.others:
            self._rest.append({"role": "user", "content": heard.others})

    def _assistant(self, message: JsonObject) -> None:
        spoken = _spoken(message)
        said: JsonObject = {"role": "assistant", "content": spoken.text or self._dialect.call_content}
        if self._dialect.reasoning_field and spoken.thoughts:
            said[self._dialect.reasoning_field] = spoken.thoughts
        if spoken.calls:
            said["tool_calls"] = [self._call(*call) for call in spoken.calls]
        if spoken.text or spoken.calls:
            self.messages.append(said)  # a turn of thinking alone leaves nothing to say

    def _call(self, client_id: str, client_name: str, arguments: str) -> JsonObject:
        repeats = self._seen_ids[client_id]  # a retried turn may bring its ids again
        self._seen_ids[client_id] += 1
        backend_id = call_id(f"{client_id}#{repeats + 1}" if repeats else client_id, self._dialect)
        self._calls.append((client_id, backend_id))
        function = {"name": self._names.to_backend(client_name), "arguments": arguments}
        return {"id": backend_id, "type": "function", "function": function}

    def _mid_system(self, text: str) -> JsonObject:
        if self._dialect.mid_system == "system":
            return {"role": "system", "content": text}
        return {"role": "user", "content": reminder(text)}


@dataclass(frozen=True, slots=True)
class _Result:
    """A tool's result as the client sent it, and what is read of it."""

    block: JsonObject
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a user message says: results of tools, and everything else as content of a chat message ("" for nothing)."""

    results: list[_Result]
    others: str | list[JsonObject]


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What an assistant message says; of calls the client's id, the client's name of the tool, and the arguments."""

    text: str
    thoughts: str
    calls: list[tuple[str, str, str]]


@each
def _heard(message: JsonObject, images: bool) -> _Heard:
    results: list[_Result] = []
    others = []
    for block in as_blocks(message.get("content")):
        if isinstance(block, dict) and block.get("type") == "tool_result":
            results.append(_Result(block, _result_parts(block, images)))
        else:
            others.append(block)
    return _Heard(results, joined(parts_of(others, images=images)))


@each
def _spoken(message: JsonObject) -> _Spoken:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[tuple[str, str, str]] = []
    cited = False
    for block in as_blocks(message.get("content")):
        if block.get("type") == "tool_use":
            calls.append((str(block.get("id")), str(block.get("name")), arguments_text(block.get("input"))))
        elif block.get("type") == "thinking":
            thoughts.append(str(block.get("thinking") or ""))
        elif text := text_of_block(block):
            fragment = bool(block.get("citations"))
            if texts and (fragment or cited):
                texts[-1] += text  # citations cut one sentence into several blocks
            else:
                texts.append(text)
            cited = fragment
    return _Spoken(PARAGRAPH.join(texts), PARAGRAPH.join(thoughts) if any(thoughts) else "", calls)


def _result_parts(block: JsonObject, images: bool) -> list[Part]:
    parts = parts_of(block.get("content"), images=images)
    if not block.get("is_error"):
        return parts
    first = parts[0] if parts and isinstance(parts[0], str) else None
    if first is not None and (first.startswith("<") or first[:5].casefold() == "error"):
        return parts  # it says so itself
    return [f"Error: {first or 'the tool failed'}", *(parts[1:] if first is not None else parts)]


def _orphan(block: JsonObject) -> str:
    text = PARAGRAPH.join(str(part) for part in parts_of(block.get("content"), images=False))
    return f"[Result of an earlier call:]\n{text or NO_OUTPUT}"
