"""Web search as Claude Code expects it answered.

Its WebSearch tool makes a request of its own, whose only tool is Anthropic's server tool `web_search_...`. A plain
text answer to it shows as "Did 0 searches"; what it reads are a `server_tool_use` block, a `web_search_tool_result`
block, and the count in `usage.server_tool_use`. Pure: the pages found are handed in.
Source: docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson

from anyclaude_lab.wire.events import (
    Event,
    JsonObject,
    Usage,
    block_start,
    block_stop,
    json_delta,
    message_delta,
    message_start,
    message_stop,
    text_delta,
)
from anyclaude_lab.wire.request import Request, text_of

ErrorCode = Literal["unavailable", "too_many_requests", "invalid_tool_input", "max_uses_exceeded", "query_too_long"]
_TOOL_NAME = "web_search"
_TOOL_TYPE_PREFIX = "web_search_"
_QUERY = re.compile(r"\bquery\s*:\s*(.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What the client wants searched. An empty list of allowed domains allows all."""

    query: str
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()


class Page(Protocol):
    """One page found. `age` is how the search service puts it, None where it does not say."""

    @property
    def title(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def snippet(self) -> str: ...
    @property
    def age(self) -> str | None: ...


def search_request(request: Request) -> SearchRequest | None:
    """The search that `request` asks for; None for every request that is not just a web search."""
    tools = request.tools
    if len(tools) != 1 or not str(tools[0].get("type", "")).startswith(_TOOL_TYPE_PREFIX):
        return None
    asked = [text_of(m.get("content")) for m in request.messages if m.get("role") == "user"]
    text = asked[-1].strip() if asked else ""
    match = _QUERY.search(text)
    query = (match[1] if match else text).strip()
    if not query:
        return None
    return SearchRequest(query, _domains(tools[0].get("allowed_domains")), _domains(tools[0].get("blocked_domains")))


def search_events(
    asked: SearchRequest,
    pages: Sequence[Page],
    *,
    message_id: str,
    model: str,
    prompt_tokens: int | None = None,
    error_code: ErrorCode | None = None,
) -> list[Event]:
    """The whole reply: the search, its pages, and their text for the model; `error_code` says that it failed."""
    usage = Usage(prompt_tokens=prompt_tokens)
    search_id = "srvtoolu_" + hashlib.sha256(message_id.encode()).hexdigest()[:24]
    call: JsonObject = {"type": "server_tool_use", "id": search_id, "name": _TOOL_NAME, "input": {}}
    found: JsonObject = {
        "type": "web_search_tool_result",
        "tool_use_id": search_id,
        "content": _error(error_code) if error_code else [_result(page) for page in pages],
    }
    text = _text(asked, pages, error_code)
    ended: JsonObject = {
        **Usage(prompt_tokens, None, -(-len(text) // 4)).as_anthropic(),
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
    }
    return [
        message_start(message_id, model, usage.as_anthropic()),
        block_start(0, call),
        json_delta(0, orjson.dumps({"query": asked.query}).decode()),
        block_stop(0),
        block_start(1, found),
        block_stop(1),
        block_start(2, {"type": "text", "text": ""}),
        text_delta(2, text),
        block_stop(2),
        message_delta("end_turn", ended),
        message_stop(),
    ]


def _domains(value: Any) -> tuple[str, ...]:
    return tuple(str(domain) for domain in value) if isinstance(value, list) else ()


def _result(page: Page) -> JsonObject:
    return {
        "type": "web_search_result",
        "title": page.title,
        "url": page.url,
        "encrypted_content": "",  # Anthropic's own form of the page text; ours stands in the text block
        "page_age": page.age,
    }


def _error(code: ErrorCode) -> JsonObject:
    return {"type": "web_search_tool_result_error", "error_code": code}


def _text(asked: SearchRequest, pages: Sequence[Page], error_code: ErrorCode | None) -> str:
    if error_code:
        return f"The search for {asked.query!r} failed: {error_code}."
    if not pages:
        return f"Nothing was found for {asked.query!r}."
    lines = [f"Found for {asked.query!r}:"]
    for number, page in enumerate(pages, 1):
        age = f" ({page.age})" if page.age else ""
        lines.append(f"\n{number}. {page.title}{age}\n{page.url}\n{page.snippet}".rstrip())
    return "\n".join(lines)
