"""Content blocks as a chat-completions server reads them: text, and images where the model sees them.

Every block becomes something: what has no counterpart becomes one line that says what stood there. Base64 never becomes
text. All functions depend on the block alone, so the same history renders to the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any

import orjson

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import as_blocks

Part = str | JsonObject  # text, or an `image_url` content part
PARAGRAPH = "\n\n"


def parts_of(content: Any, *, images: bool) -> list[Part]:
    """The content in order; empty texts and thinking are left out, images are placeholders unless `images`."""
    parts: list[Part] = []
    for block in as_blocks(content):
        if images and (image := _image_part(block)) is not None:
            parts.append(image)
        elif text := text_of_block(block):
            parts.append(text)
    return parts


def joined(parts: Iterable[Part]) -> str | list[JsonObject]:
    """A string where all is text, else a list of content parts with neighbouring texts joined."""
    runs: list[Part] = []
    for part in parts:
        if isinstance(part, str) and runs and isinstance(runs[-1], str):
            runs[-1] = runs[-1] + PARAGRAPH + part
        else:
            runs.append(part)
    if not runs:
        return ""
    if len(runs) == 1 and isinstance(runs[0], str):
        return runs[0]
    return [{"type": "text", "text": run} if isinstance(run, str) else run for run in runs]


def text_of_block(block: JsonObject) -> str:
    """What a reader of text gets of one block; "" for nothing worth reading."""
    match block.get("type"):
        case "text":
            return str(block.get("text") or "")
        case "thinking" | "redacted_thinking":
            return ""
        case "image":
            return _image_line(block)
        case "document":
            return _document_text(block)
        case "tool_reference":
            return f"[The tool {block.get('tool_name')} is available now.]"
        case "search_result" | "web_search_result":
            return _search_result(block)
        case "web_search_tool_result" | "mcp_tool_result" | "tool_result":
            return _nested(block.get("content")) or "[no result]"
        case "server_tool_use" | "mcp_tool_use":
            return f"[{block.get('name')} was called with {json_text(block.get('input') or {})}]"
        case "container_upload":
            return f"[file {block.get('file_id')} was uploaded]"
    return _unknown(block)


def json_text(value: Any) -> str:
    """JSON in the spelling models are trained on: `", "` and `": "`, keys in the order they came, no ASCII escapes."""
    return json.dumps(value, ensure_ascii=False)


def _nested(content: Any) -> str:
    if isinstance(content, dict):  # an error object instead of a list of results
        return f"[failed: {content.get('error_code') or content.get('type')}]"
    return PARAGRAPH.join(str(part) for part in parts_of(content, images=False))


def _unknown(block: JsonObject) -> str:
    """A block type nobody told us about: its text, its content, or its name."""
    if isinstance(block.get("text"), str):
        return str(block["text"])
    if "content" in block and (text := _nested(block["content"])):
        return text
    return f"[{block.get('type') or 'untyped'} block]"


def _search_result(block: JsonObject) -> str:
    head = " - ".join(str(block[key]) for key in ("title", "url", "source") if isinstance(block.get(key), str))
    text = _nested(block["content"]) if "content" in block else ""
    return f"{head}\n{text}" if text else head


def _image_part(block: JsonObject) -> JsonObject | None:
    source = block.get("source")
    if block.get("type") != "image" or not isinstance(source, dict):
        return None
    if source.get("type") == "base64":
        url = f"data:{source.get('media_type', 'image/png')};base64,{source.get('data', '')}"
    elif source.get("type") == "url":
        url = str(source.get("url"))
    else:
        return None
    return {"type": "image_url", "image_url": {"url": url}}


def _image_line(block: JsonObject) -> str:
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    if source.get("type") == "base64":
        return f"[image, {source.get('media_type')}, {_size(source)}: this model cannot see images]"
    where = source.get("url") or source.get("file_id") or "unknown source"
    return f"[image, {where}: this model cannot see images]"


def _document_text(block: JsonObject) -> str:
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    title = f"document {block['title']!r}" if block.get("title") else "document"
    text: str | None = None
    if source.get("type") == "text":
        text = str(source.get("data") or "")
    elif source.get("type") == "content":
        text = _nested(source.get("content"))
    elif source.get("type") == "base64" and str(source.get("media_type", "")).startswith("text/"):
        text = _decoded(str(source.get("data") or ""))
    if text is None:
        where = _size(source) if source.get("type") == "base64" else source.get("url") or source.get("file_id")
        return f"[{title}, {source.get('media_type') or source.get('type')}, {where}: not readable as text]"
    return f"[{title}]\n{text}" if block.get("title") else text


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def _size(source: JsonObject) -> str:
    data = str(source.get("data") or "")
    size_bytes = len(data) * 3 // 4 - data[-2:].count("=")
    return f"{size_bytes} bytes" if size_bytes < 1024 else f"{size_bytes / 1024:.1f} KiB"


def arguments_text(value: Any) -> str:
    """The `arguments` of a past call: always JSON text of an object (mlx-lm parses it and fails on anything else)."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = {"input": value}
    return json_text(value if isinstance(value, dict) else {})
