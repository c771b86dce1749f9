"""A chat-completions body, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anyclaude_lab.engine.serve.sampling import Sampling
from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.wire.events import JsonObject

LANE_HEADER, SIDE_HEADER = "x-anyclaude-lane", "x-anyclaude-side"
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is rendered."""

    messages: list[JsonObject]
    tools: list[JsonObject]
    template_kwargs: JsonObject


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked. `forced`: a call must come, of `forced_tool` if it is named; `max_tokens` None: what fits."""

    conversation: Conversation
    sampling: Sampling
    max_tokens: int | None
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool
    tool_choice: Literal["auto", "none", "required"]
    forced_tool: str | None
    lane: str
    side: bool
    callable_tools: list[JsonObject]  # every tool that may be called, by its own schema, where `tools` does not say

    @property
    def offered(self) -> dict[str, JsonObject]:
        """Name -> schema of the tools that may be called."""
        if self.tool_choice == "none":
            return {}
        functions = [tool["function"] for tool in self.callable_tools or self.conversation.tools]
        return {function["name"]: function.get("parameters") or {} for function in functions}

    @property
    def callable(self) -> dict[str, JsonObject]:
        """`offered`, or the one tool that must be called."""
        forced = self.forced_tool
        return self.offered if forced is None else {forced: self.offered.get(forced, {})}


def parse_conversation(body: JsonObject) -> Conversation:
    """Raises InvalidRequest."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list with at least one message")
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    tools = _tools(body, "tools")
    # Templates know the older word for it.
    messages = [m | {"role": "system"} if m["role"] == "developer" else m for m in messages]
    return Conversation(messages, tools, _object(body, "chat_template_kwargs"))


def parse_chat(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    """Raises InvalidRequest. Fields that are not known are ignored, as everywhere."""
    conversation = parse_conversation(body)
    if body.get("n") not in (None, 1):
        raise InvalidRequest(f"n is {body['n']!r}, but this engine gives one answer to a request")
    limit = _number(body, "max_completion_tokens", 1, None) or _number(body, "max_tokens", 1, None)
    choice, forced_tool = _tool_choice(body, conversation)
    return ChatRequest(
        conversation=conversation,
        sampling=_sampling(body),
        max_tokens=None if limit is None else int(limit),
        stops=_stops(body),
        stream=bool(body.get("stream")),
        include_usage=bool(_object(body, "stream_options").get("include_usage")),
        tool_choice=choice,
        forced_tool=forced_tool,
        lane=headers.get(LANE_HEADER, "")[:200],
        # Conversations of Claude Code always have tools; what has none is a title, a probe, an extraction.
        side=headers.get(SIDE_HEADER) == "1" or not conversation.tools,
        callable_tools=_tools(body, "callable_tools"),
    )


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise InvalidRequest(f"{where} must be an object with a role, one of {', '.join(_ROLES)}")
    content = message.get("content")
    if isinstance(content, list):
        kinds = [part.get("type") if isinstance(part, dict) else part for part in content]
        other = [kind for kind in kinds if kind != "text"]
        if other:
            raise InvalidRequest(f"{where} has a part of type {other[0]!r}, but this engine reads text only")
    elif content is not None and not isinstance(content, str):
        raise InvalidRequest(f"{where}.content must be text, a list of text parts, or null")


def _tools(body: JsonObject, field: str) -> list[JsonObject]:
    tools = body.get(field) or []
    if not isinstance(tools, list) or not all(map(_is_function, tools)):
        raise InvalidRequest(f'{field} must be a list of {{"type": "function", "function": {{"name": ...}}}}')
    return tools


def _is_function(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _tool_choice(
    body: JsonObject, conversation: Conversation
) -> tuple[Literal["auto", "none", "required"], str | None]:
    choice = body.get("tool_choice")
    if choice in (None, "auto") or not conversation.tools:
        return "auto", None
    if choice == "none":
        return "none", None
    if choice == "required":
        return "required", None
    name = choice["function"].get("name") if isinstance(choice, dict) and _is_function(choice) else None
    names = [tool["function"]["name"] for tool in conversation.tools]
    if name not in names:
        raise InvalidRequest(f"tool_choice names {name or choice!r}, which is none of the tools: {', '.join(names)}")
    return "required", name


def _sampling(body: JsonObject) -> Sampling:
    temperature, seed = _number(body, "temperature", 0, 5), _number(body, "seed", None, None)
    return Sampling(
        temperature=temperature or 0.0,
        top_p=1.0 if (top_p := _number(body, "top_p", 0, 1)) is None else top_p,
        top_k=int(_number(body, "top_k", 0, None) or 0),
        min_p=_number(body, "min_p", 0, 1) or 0.0,
        seed=None if seed is None else int(seed),
    )


def _stops(body: JsonObject) -> tuple[str, ...]:
    stops = body.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise InvalidRequest("stop must be a text or a list of texts")
    return tuple(stop for stop in stops if stop)


def _number(body: JsonObject, name: str, least: float | None, most: float | None) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (least is not None and value < least) or (most is not None and value > most):
        span = f"from {least:g}" + (f" to {most:g}" if most is not None else " on") if least is not None else "a number"
        raise InvalidRequest(f"{name} is {value!r}; allowed is {span}")
    return float(value) if not isinstance(value, int) else value


def _object(body: JsonObject, name: str) -> JsonObject:
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} must be an object")
    return value
