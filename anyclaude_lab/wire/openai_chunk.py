"""What one chunk of a streamed chat completion holds: its JSON object, its text, its reasoning by any name."""

from __future__ import annotations

from typing import Any

from anyclaude_lab.wire import json_text
from anyclaude_lab.wire.events import JsonObject

# What a chunk can bring besides a piece of text; empty or null, each of them means nothing.
_BESIDES_TEXT = ("error", "usage", "timings", "prompt_progress", "x_groq")


def object_in(data: bytes) -> JsonObject | None:
    """The JSON object of one event; None for anything else, which is noise between events."""
    try:
        value = json_text.loads(data)
    except ValueError:
        return None
    if isinstance(value, list) and value:  # quirk(Gemini's endpoint): an error comes as a list of one
        value = value[0]
    return value if isinstance(value, dict) else None


def only_text(chunk: JsonObject) -> str | None:
    """The text of a chunk with one choice that brings nothing else; None for every other chunk."""
    choice = chunk["choices"][0]
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict) or not isinstance(text := delta.get("content"), str):
        return None
    if "error_message" in chunk or choice.get("index", 0) != 0 or choice.get("error") or choice.get("finish_reason"):
        return None
    for name in _BESIDES_TEXT:
        if chunk.get(name):
            return None
    for name, value in delta.items():
        if value and name not in ("content", "role"):
            return None
    return text


def reasoning_in(delta: JsonObject) -> str:
    """Reasoning under any of its names; servers that send two names send the same text twice."""
    for field in ("reasoning_content", "reasoning"):
        if isinstance(delta.get(field), str) and delta[field]:
            return str(delta[field])
    details = delta.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    return "".join(str(d.get("text") or d.get("summary") or "") for d in details if isinstance(d, dict))


def typed_parts(content: Any) -> tuple[str, str]:
    """Reasoning and text of a content list. quirk(Mistral's API): `thinking` parts hold a list of text parts."""
    thoughts, texts = [], []
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, dict):
            texts.append(str(part))
        elif part.get("type") == "thinking":
            inner = part.get("thinking")
            thoughts.append(inner if isinstance(inner, str) else typed_parts(inner or [])[1])
        else:
            texts.append(str(part.get("text") or ""))
    return "".join(thoughts), "".join(texts)
