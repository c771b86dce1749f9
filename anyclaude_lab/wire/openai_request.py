"""A Messages-API request as a chat-completions body.

Deterministic: the same history gives the same bytes in every request of a conversation. What a server cannot be told by
a field (a forced tool on mlx-lm, a schema for the answer) is said in one last user message, never in the head.
"""

from __future__ import annotations

from typing import Any

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_content import json_text
from anyclaude_lab.wire.openai_dialect import Dialect, for_model
from anyclaude_lab.wire.openai_messages import alternating, chat_messages, reminder
from anyclaude_lab.wire.request import MOST_TOKENS, Request, is_client_tool
from anyclaude_lab.wire.same import once
from anyclaude_lab.wire.schema_dialect import tool_parameters
from anyclaude_lab.wire.tool_names import ToolNames, short_name

_DEFERRED_PLACEHOLDER = "DeferredToolPlaceholder"
# `output_config.effort` has more steps than `reasoning_effort`
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_LOW_BUDGET_TOKENS, _MEDIUM_BUDGET_TOKENS = 4096, 16384


def to_openai(request: Request, dialect: Dialect, *, model: str, names: ToolNames) -> tuple[JsonObject, list[str]]:
    """The body to post, always streaming and asking for usage, and what had to be given up, in words for the log.

    `model` is the backend's own id, `max_tokens` of the request is taken as it is (clamped before), `names` maps the
    names of the tools the client offered.
    """
    dialect = for_model(dialect, model)
    notes: list[str] = []
    body: JsonObject = {"model": model, "messages": chat_messages(request, dialect, names)}
    tools, given_up = _tools(request.body.get("tools") or [], dialect, names.limit)
    notes += given_up
    last_words = []
    if tools:
        body["tools"] = tools
        last_words += _tool_choice(request, dialect, names, body, notes)
    last_words += _answer_format(request, dialect, body)
    if last_words:
        _say_last(body, reminder("\n".join(last_words)), dialect)
    elif dialect.continue_final_message and body["messages"] and body["messages"][-1]["role"] == "assistant":
        # quirk(vLLM): without both, a prefilled answer is closed and a second one begun.
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    _sampling(request, dialect, body, notes)
    _thinking(request, dialect, body)
    body |= dialect.extra
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}  # quirk(mlx-lm): stream_options without it kills the stream
    return body, notes


def in_head(tool: JsonObject) -> bool:
    """Whether a tool is defined before the conversation: run by the client, and not deferred."""
    return is_client_tool(tool) and not tool.get("defer_loading") and tool["name"] != _DEFERRED_PLACEHOLDER


@once
def _tools(given: list[JsonObject], dialect: Dialect, name_chars: int) -> tuple[list[JsonObject], list[str]]:
    """The definitions for the head, and what had to be given up."""
    tools: list[JsonObject] = []
    notes: list[str] = []
    removed: set[str] = set()
    for tool in given:
        if not in_head(tool):
            if not is_client_tool(tool):
                notes.append(f"server tool {tool.get('type')} dropped: {dialect.label} cannot run it")
            continue
        parameters, gone = tool_parameters(tool.get("input_schema"), dialect.schema)
        removed.update(gone)
        function = {
            "name": short_name(tool["name"], name_chars),
            "description": tool.get("description") or "",
            "parameters": parameters,
        }
        tools.append({"type": "function", "function": function})
    if removed:
        notes.append(f"tool schemas: {', '.join(sorted(removed))} removed for {dialect.label}")
    return tools, notes


def _tool_choice(request: Request, dialect: Dialect, names: ToolNames, body: JsonObject, notes: list[str]) -> list[str]:
    """Sets the fields; what they cannot say comes back as sentences."""
    choice = request.body.get("tool_choice")
    if not isinstance(choice, dict):
        return []
    if choice.get("disable_parallel_tool_use") and dialect.parallel_tool_calls:
        body["parallel_tool_calls"] = False
    kind, name = choice.get("type"), names.to_backend(str(choice.get("name")))
    if kind == "tool" and all(tool["function"]["name"] != name for tool in body["tools"]):
        notes.append(f"tool_choice {choice.get('name')} dropped: no such tool is defined")
        return []
    words = {
        "none": "Answer in text now, without calling a tool.",
        "any": "Your answer must be a call of one of the tools.",
        "tool": f"Your answer must be a call of the tool {name}.",
    }
    if kind not in words and kind != "auto":
        return []
    if dialect.tool_choice == "ignored":
        return [words[kind]] if kind in words else []
    if kind == "tool" and dialect.tool_choice == "full":
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
        return []
    body["tool_choice"] = {"tool": "required", "any": "required"}.get(kind, kind)
    return [words["tool"]] if kind == "tool" else []


def _answer_format(request: Request, dialect: Dialect, body: JsonObject) -> list[str]:
    config = request.body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    wanted = wanted or request.body.get("output_format")
    if (
        not isinstance(wanted, dict)
        or wanted.get("type") != "json_schema"
        or not isinstance(wanted.get("schema"), dict)
    ):
        return []
    if dialect.response_format and "tools" not in body:  # a grammar for the answer would forbid tool calls
        schema, _ = tool_parameters(wanted["schema"], dialect.schema)
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return []
    return [
        "Answer with one JSON value and nothing else, no prose and no code fence. It must match this JSON schema:",
        json_text(wanted["schema"]),
    ]


def _say_last(body: JsonObject, text: str, dialect: Dialect) -> None:
    messages = [*body["messages"], {"role": "user", "content": text}]
    body["messages"] = alternating(messages) if dialect.alternating_roles else messages


def _sampling(request: Request, dialect: Dialect, body: JsonObject, notes: list[str]) -> None:
    source = request.body
    if request.max_tokens > 0:
        body[dialect.max_tokens_field] = request.max_tokens  # quirk(mlx-lm): 512 if it is missing
    for field in ("temperature", "top_p"):
        if _is_number(source.get(field)):  # quirk(mlx-lm): null is refused
            body[field] = source[field]
    if dialect.top_k and _is_number(source.get("top_k")) and source["top_k"] > 0:
        body["top_k"] = min(int(source["top_k"]), MOST_TOKENS)
    stops = [stop for stop in source.get("stop_sequences") or [] if isinstance(stop, str) and stop]
    if dialect.max_stops is not None and len(stops) > dialect.max_stops:
        notes.append(
            f"{len(stops) - dialect.max_stops} stop sequences dropped: {dialect.label} takes {dialect.max_stops}"
        )
        stops = stops[: dialect.max_stops]
    if stops:
        body["stop"] = stops


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _thinking(request: Request, dialect: Dialect, body: JsonObject) -> None:
    """Thinking is off unless the request asks for it, as at Anthropic; effort is passed on where it was given."""
    wanted = request.thinking_wanted
    effort = _effort(request) if wanted else None
    template: JsonObject = {}
    if dialect.thinking == "template":
        template = {**dialect.template_kwargs, "enable_thinking": wanted}
    elif dialect.thinking == "words" and not wanted:
        body["messages"] = _told_not_to_think(body["messages"])
    elif dialect.thinking == "none_effort" and not wanted:
        body["reasoning_effort"] = "none"
    elif dialect.thinking == "openrouter":
        # Switched off is refused by models that must think; little and unseen is taken by all.
        body["reasoning"] = {"effort": effort or "medium"} if wanted else {"effort": "low", "exclude": True}
    if effort and dialect.effort == "template":
        template["reasoning_effort"] = effort
    elif effort and dialect.effort == "field":
        body["reasoning_effort"] = effort
    if template:
        body["chat_template_kwargs"] = template


def _told_not_to_think(messages: list[JsonObject]) -> list[JsonObject]:
    """With Qwen3's switch at the end of the system prompt, where it stands in every request of a conversation."""
    if not messages or messages[0]["role"] != "system":
        return messages
    return [{**messages[0], "content": f"{messages[0]['content']}\n\n/no_think"}, *messages[1:]]


def _effort(request: Request) -> str | None:
    """low, medium or high, from `output_config.effort` or the thinking budget; None where neither is given."""
    config = request.body.get("output_config")
    if isinstance(config, dict) and config.get("effort") in _EFFORTS:
        return _EFFORTS[config["effort"]]
    budget = request.body["thinking"].get("budget_tokens")
    if not _is_number(budget):
        return None
    return "low" if budget <= _LOW_BUDGET_TOKENS else "medium" if budget <= _MEDIUM_BUDGET_TOKENS else "high"
