"""How many tokens a chat-completions body has as the model reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.render.tokens import TokenCounter
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.same import once

MEDIA_TOKENS = 1500  # an image, whatever its length in base64; models differ from 250 to 2000
_FRAME_TOKENS = 4  # what templates write around one message


@dataclass(frozen=True, slots=True)
class Count:
    """Prompt tokens, how they were counted, and whether the model itself would count the same."""

    tokens: int
    method: str
    exact: bool
    raw_tokens: int | None = None  # before experience corrected them; None where there was nothing to correct


def count_request(body: JsonObject, counter: TokenCounter, template: ChatTemplate | None) -> Count:
    """Tokens of the prompt of `body`. Without a template, or where it refuses the body, its frames are guessed."""
    messages, media = _without_media(body.get("messages") or [])
    if template is not None:
        try:
            pieces = template.pieces(messages, body.get("tools"), **(body.get("chat_template_kwargs") or {}))
        except InvalidRequest:
            pass
        else:
            tokens = counter.count_pieces(pieces) + MEDIA_TOKENS * media
            return Count(tokens, f"template and {counter.method}", counter.exact and not media)
    parts = [part for message in messages for part in _texts(message)]
    tokens = sum(map(counter.count, parts)) + _tools_tokens(body.get("tools") or [], counter)
    tokens += _FRAME_TOKENS * (len(messages) + 1) + MEDIA_TOKENS * media
    return Count(tokens, f"{counter.method}, without template", exact=False)


@once
def _tools_tokens(tools: list[JsonObject], counter: TokenCounter) -> int:
    return sum(counter.count(orjson.dumps(tool).decode()) for tool in tools)


def _without_media(messages: list[JsonObject]) -> tuple[list[JsonObject], int]:
    """The messages with text parts only, and how many other parts there were."""
    media = 0
    kept: list[JsonObject] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            texts = [part for part in content if part.get("type") == "text"]
            media += len(content) - len(texts)
            message = message | {"content": texts}
        kept.append(message)
    return kept, media


def _texts(message: JsonObject) -> list[str]:
    content: Any = message.get("content") or ""
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    if message.get("tool_calls"):
        texts.append(orjson.dumps(message["tool_calls"]).decode())
    if reasoning := message.get("reasoning_content") or message.get("reasoning"):
        texts.append(str(reasoning))
    return texts
