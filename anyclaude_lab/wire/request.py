"""A Messages-API request: its JSON body, kept whole, with the few readings everyone needs.

Lossless: `body` is the object as the client sent it, unknown fields included. It is never edited in place; a transform
returns `request.with_(field=value)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.json_text import loads
from anyclaude_lab.wire.same import each, once, one_message, one_of

MOST_TOKENS = 2**31 - 1  # more than any window, and what every server can read
ROLES = ("user", "assistant", "system")  # `system` stands inside `messages` since Claude Code 2.1.197
_LONG_CONTEXT_SUFFIX = re.compile(r"\[1m\]\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """One `POST /v1/messages` body. Shape: docs.anthropic.com/en/api/messages."""

    body: JsonObject
    raw: bytes = field(
        default=b"", repr=False, compare=False
    )  # the exact bytes received; b"" when made or changed here
    made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # see `same.each`

    def __reduce__(self) -> tuple[Any, ...]:
        return Request, (self.body, self.raw)

    def with_(self, **changes: Any) -> Request:
        """A copy with body fields replaced; a field set to None is removed."""
        body = {k: v for k, v in (self.body | changes).items() if k not in changes or changes[k] is not None}
        return Request(body)

    @property
    def model(self) -> str:
        """The model id the client asked for, as it spelled it."""
        return str(self.body["model"])

    @property
    def plain_model(self) -> str:
        """The model id without `[1m]`, the client's own mark for a million-token window."""
        return _LONG_CONTEXT_SUFFIX.sub("", self.model)

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def max_tokens(self) -> int:
        return int(self.body.get("max_tokens") or 0)

    @property
    def system(self) -> list[JsonObject]:
        """The system prompt as text blocks, whatever its spelling. Shared."""
        system = self.body.get("system")
        return system if isinstance(system, list) else as_blocks(system)

    @property
    def system_text(self) -> str:
        """The text of the system prompt, as `text_of`."""
        system = self.body.get("system")
        return _system_text(system) if isinstance(system, list) else text_of(system)

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
        """Name -> input schema of every tool the client can run, deferred ones included, server tools not. Shared."""
        return _offered(self.body.get("tools") or [])


@once
def _offered(tools: list[JsonObject]) -> dict[str, JsonObject]:
    return {t["name"]: t.get("input_schema") or {"type": "object"} for t in tools if is_client_tool(t)}


def as_blocks(content: Any) -> list[JsonObject]:
    """Content in its one list spelling: a string is one text block, None is nothing."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content) if isinstance(content, list | tuple) else []  # a block of a later kind may hold anything


def text_of(content: Any) -> str:
    """The text of a content value, blocks joined by a blank line, in either spelling the same."""
    return "\n\n".join(b["text"] for b in as_blocks(content) if b.get("type") == "text" and b.get("text"))


@once
def _system_text(blocks: list[JsonObject]) -> str:
    return text_of(blocks)


def is_client_tool(tool: JsonObject) -> bool:
    """True for tools Claude Code runs itself: no `type`, or type `custom`; server tools are dated types."""
    return tool.get("type") in (None, "custom") and isinstance(tool.get("name"), str)


def blocks_of(request: Request, kind: str) -> Iterator[JsonObject]:
    """Every content block of one type in the messages, in order."""
    for message in request.messages:
        for block in as_blocks(message.get("content")):
            if block.get("type") == kind:
                yield block


def parse_request(raw: bytes, *, counting: bool = False) -> Request:
    """The request that `raw` spells, checked for what every way of answering needs.

    `counting` is a `count_tokens` body, which has no `max_tokens`. Unknown fields, block types and system messages
    anywhere are fine. Raises `InvalidRequest` in the words of the Messages API, naming the place.
    """
    request = _read(raw)
    _check(request.body, counting=counting)
    return request


def _read(raw: bytes) -> Request:
    if not raw.strip():
        raise InvalidRequest(
            "The request body is empty; a JSON object with model, max_tokens and messages is expected."
        )
    try:
        body = loads(raw)
    except ValueError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"The request body must be a JSON object; found {_kind(body)}.")
    for name, value in body.items():
        if name in ("system", "tools") and isinstance(value, list):
            body[name] = one_of(value)
            _check_list_depth(body[name])
        elif name == "messages" and isinstance(value, list):  # their depth is looked at with the rest of them
            body[name] = list(map(one_message, value))
        else:
            _check_depth(value)
    return Request(body, raw)


def _check_depth(value: Any) -> None:
    try:
        orjson.dumps([[[[[[value]]]]]])  # what it is translated into is nested a little deeper
    except TypeError:
        raise InvalidRequest("The request body is nested too deeply; 250 levels can be passed on.") from None


_check_list_depth = once(_check_depth)


def _check(body: JsonObject, *, counting: bool) -> None:
    model, limit = _required(body, "model", ""), body.get("max_tokens")
    if not isinstance(model, str) or not model:
        raise InvalidRequest(f"model: Input should be a non-empty string; found {_kind(model)}.")
    if not counting:
        _required(body, "max_tokens", "")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0 or limit % 1):
        raise InvalidRequest(f"max_tokens: Input should be a whole number of tokens; found {limit!r}.")
    if limit is not None and limit > MOST_TOKENS:
        raise InvalidRequest(f"max_tokens: Input should be at most {MOST_TOKENS}; found {limit!r}.")
    if not isinstance(body.get("stream", False), bool | None):
        raise InvalidRequest(f"stream: Input should be a valid boolean; found {_kind(body['stream'])}.")
    if not isinstance(body.get("stop_sequences"), list | None):
        raise InvalidRequest(f"stop_sequences: Input should be a list; found {_kind(body['stop_sequences'])}.")
    _check_system(body.get("system"))
    _check_tools(body.get("tools"))
    messages = _required(body, "messages", "")
    if not isinstance(messages, list):
        raise InvalidRequest(f"messages: Input should be a list; found {_kind(messages)}.")
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    called: set[str] = set()
    for number, message in enumerate(messages):
        ids = _ids(message)
        if ids is None or not called.issuperset(ids.answered):
            _check_message(message, f"messages.{number}", called)
        else:
            called.update(ids.called)


def _check_system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise InvalidRequest(f"system: Input should be a string or a list of text blocks; found {_kind(system)}.")
    for number, block in enumerate(system):
        _check_block(block, f"system.{number}")


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise InvalidRequest(f"tools: Input should be a list; found {_kind(tools)}.")
    _check_each(tools)


@once
def _check_each(tools: list[Any]) -> None:
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise InvalidRequest(f"tools.{number}: Input should be an object; found {_kind(tool)}.")
        if tool.get("type") in (None, "custom"):
            _required_text(tool, "name", f"tools.{number}")
            schema = tool.get("input_schema")
            if schema is not None and not isinstance(schema, dict):
                raise InvalidRequest(f"tools.{number}.input_schema: Input should be an object; found {_kind(schema)}.")


class _Ids(NamedTuple):
    """The tool calls of a message without fault, and those whose results it brings."""

    called: frozenset[str]
    answered: frozenset[str]


class _AllCalled(set[str]):
    """Ids of calls, among which is whatever is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return True


@each
def _ids(message: Any) -> _Ids | None:
    """None for a message with a fault, whichever it is."""
    called = _AllCalled()
    try:
        _check_message(message, "", called)
    except InvalidRequest:
        return None
    return _Ids(frozenset(called), frozenset(called.asked))


def _check_message(message: Any, place: str, called: set[str]) -> None:
    """Check one message; `called` gathers the ids of the tool calls so far."""
    _check_depth(message)
    if not isinstance(message, dict):
        raise InvalidRequest(f"{place}: Input should be an object; found {_kind(message)}.")
    role = _required(message, "role", place)
    if role not in ROLES:
        raise InvalidRequest(f"{place}.role: Input should be 'user' or 'assistant'; found {role!r}.")
    content = _required(message, "content", place)
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise InvalidRequest(f"{place}.content: Input should be a string or a list of blocks; found {_kind(content)}.")
    for number, block in enumerate(content):
        _check_block(block, f"{place}.content.{number}", called)


# What everyone reads of a block without asking whether it is there. Types not listed are carried unread.
_REQUIRED_TEXT = {"text": ("text",), "tool_use": ("id", "name"), "tool_result": ("tool_use_id",)}


def _check_block(block: Any, place: str, called: set[str] | None = None) -> None:
    if not isinstance(block, dict):
        raise InvalidRequest(f"{place}: Input should be an object with a type; found {_kind(block)}.")
    kind = _required_text(block, "type", place)
    for name in _REQUIRED_TEXT.get(kind, ()):
        _required_text(block, name, f"{place}.{kind}", may_be_empty=kind == "text")
    if called is None:
        return
    if kind == "tool_use" and not isinstance(block.get("input", {}), dict):
        raise InvalidRequest(f"{place}.tool_use.input: Input should be an object; found {_kind(block['input'])}.")
    if kind.endswith("tool_use"):
        called.add(str(block.get("id")))
    if kind == "tool_result":
        _check_result(block, place, called)


def _check_result(block: JsonObject, place: str, called: set[str]) -> None:
    content = block.get("content")
    if block["tool_use_id"] not in called:
        raise InvalidRequest(
            f"{place}: unexpected `tool_use_id` found in `tool_result` blocks: {block['tool_use_id']}. "
            "Each `tool_result` block must have a corresponding `tool_use` block in an earlier assistant message."
        )
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise InvalidRequest(
            f"{place}.tool_result.content: Input should be a string or a list of blocks; found {_kind(content)}."
        )
    for number, inner in enumerate(content):
        _check_block(inner, f"{place}.tool_result.content.{number}")


def _required(parent: JsonObject, name: str, place: str) -> Any:
    if parent.get(name) is None:
        raise InvalidRequest(f"{place}.{name}: Field required" if place else f"{name}: Field required")
    return parent[name]


def _required_text(parent: JsonObject, name: str, place: str, *, may_be_empty: bool = False) -> str:
    value = _required(parent, name, place)
    if not isinstance(value, str) or not (value or may_be_empty):
        raise InvalidRequest(f"{place}.{name}: Input should be a non-empty string; found {_kind(value)}.")
    return value


def _kind(value: Any) -> str:
    """How a person would call the type of a JSON value."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "an empty string" if value == "" else names[type(value)]
