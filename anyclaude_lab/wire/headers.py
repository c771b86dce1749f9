"""What the headers of Claude Code say, which headers travel on, and which may be written down.

Source: the gateway guide of Claude Code (llm-gateway-protocol), and RFC 9110 section 7.6.1 for hop-by-hop headers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, text_of
from anyclaude_lab.wire.same import once

HeaderPairs = Iterable[tuple[str, str]]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NEW_ON_EVERY_REQUEST = frozenset({"host", "content-length", "expect"})  # belong to the connection they came on

_BILLING = "x-anthropic-billing-header:"  # the system block that names a conversation, not its prompt
_SECRET_NAME = re.compile(r"auth|cookie|token(?!s)|secret|password|credential|(?:^|[-_])key|apikey", re.IGNORECASE)
_OLD_USER_ID = re.compile(r"_session_([0-9a-fA-F-]{8,})\Z")
# Lines of a system prompt that differ between two sessions of one kind: paths, dates, hashes.
_VOLATILE = re.compile(r"(?:^|[\s\"'`(=:])(?:~?/|[A-Za-z]:\\)\S|\d{4}-\d\d-\d\d|\b[0-9a-f]{7,40}\b")


@dataclass(frozen=True, slots=True)
class ClientHints:
    """What Claude Code says about a request besides its content; None is what it did not say."""

    session_id: str | None = None
    agent_id: str | None = None  # only on a subagent's requests
    parent_agent_id: str | None = None
    request_class: str | None = None  # main, subagent, workflow, compaction, auxiliary, or a later word
    agent_type: str | None = None
    compaction: str | None = None  # auto, manual, reactive
    context_compacted: str | None = None  # once, on the first main request after a compaction
    prompt_id: str | None = None
    client_request_id: str | None = None  # one per attempt
    retry_count: int | None = None
    tool_durations_ms: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_headers(cls, headers: HeaderPairs | Mapping[str, str], body: JsonObject) -> ClientHints:
        """Read the headers; the session falls back to both spellings of `metadata.user_id`."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        found = {name.lower(): readable(value) for name, value in pairs}
        claude = {name.removeprefix("x-claude-code-"): value for name, value in found.items() if value}
        return cls(
            session_id=claude.get("session-id") or session_of_user_id(body),
            agent_id=claude.get("agent-id"),
            parent_agent_id=claude.get("parent-agent-id"),
            request_class=claude.get("request-class"),
            agent_type=claude.get("agent-type"),
            compaction=claude.get("compaction"),
            context_compacted=claude.get("context-compacted"),
            prompt_id=claude.get("prompt-id"),
            client_request_id=found.get("x-client-request-id"),
            retry_count=_whole_number(found.get("x-stainless-retry-count")),
            tool_durations_ms=_durations(claude.get("prev-tool-durations", "")),
        )


def readable(value: str) -> str:
    """A header whose bytes may be no text at all, as text that can be written down."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def session_of_user_id(body: JsonObject) -> str | None:
    """The session id inside `metadata.user_id`: `..._session_<uuid>`, or a JSON string with `session_id`."""
    metadata = body.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user_id, str):
        return None
    if old := _OLD_USER_ID.search(user_id):
        return old[1]
    session = _json_object(user_id).get("session_id")
    return session if isinstance(session, str) and session else None


def is_probe(request: Request) -> bool:
    """True for the client's one-token requests: does this key, this model answer at all."""
    return request.max_tokens == 1 and not request.tools


def is_background(hints: ClientHints, request: Request) -> bool:
    """True for requests beside the conversation (titles, path extraction, probes), which may go to a smaller model."""
    return hints.request_class == "auxiliary" or "haiku" in request.model.lower() or is_probe(request)


def lane_key(hints: ClientHints, request: Request) -> str:
    """The conversation a request belongs to: its requests grow by appending, and share one frozen plan.

    `session/agent` as the client names them. An unnamed session is told by its tools and first user text, an unnamed
    agent (the main one, subagents of old releases, titles and other side requests) by its system prompt; so requests
    that share no prefix share no lane. `request` must have passed `parse_request`.
    """
    return f"{hints.session_id or _opening(request)}/{hints.agent_id or _system_prompt(request)}"


def request_headers_to_forward(headers: HeaderPairs) -> list[tuple[str, str]]:
    """The client's headers for the next hop: order and spelling kept; without those of its own connection."""
    pairs = list(headers)
    dropped = HOP_BY_HOP | _NEW_ON_EVERY_REQUEST | _named_by_connection(pairs)
    return [(name, value) for name, value in pairs if name.lower() not in dropped]


def response_headers_to_forward(headers: HeaderPairs) -> list[tuple[str, str]]:
    """The backend's headers for the client: order and spelling kept; content length and encoding stay true."""
    pairs = list(headers)
    dropped = HOP_BY_HOP | _named_by_connection(pairs)
    return [(name, value) for name, value in pairs if name.lower() not in dropped]


def redact_headers(headers: HeaderPairs | Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers as they may be written to a log or a trace: whatever may open a door reads `***`."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, "***" if _SECRET_NAME.search(name) else value) for name, value in pairs]


def _opening(request: Request) -> str:
    tools = _names_in_head(request.body.get("tools") or [])
    first = next((text_of(m["content"]) for m in request.messages if m["role"] == "user"), "")
    return _digest([tools, first])


@once
def _names_in_head(tools: list[JsonObject]) -> list[str]:
    return sorted(str(tool.get("name")) for tool in tools if not tool.get("defer_loading"))


def _system_prompt(request: Request) -> str:
    return _steady_digest(request.system_text)


@lru_cache(maxsize=64)  # one system prompt comes with every request of a session
def _steady_digest(system: str) -> str:
    lines = system.splitlines()
    return _digest([line for line in lines if line and not line.startswith(_BILLING) and not _VOLATILE.search(line)])


def _digest(value: object) -> str:
    return hashlib.blake2b(orjson.dumps(value), digest_size=6).hexdigest()


def _named_by_connection(pairs: list[tuple[str, str]]) -> frozenset[str]:
    values = ",".join(value for name, value in pairs if name.lower() == "connection")
    return frozenset(name.strip().lower() for name in values.split(","))


def _durations(text: str) -> tuple[tuple[str, int], ...]:
    """`Bash=742;Read=9`: names percent-encoded, milliseconds; what does not read so is left out."""
    named = (entry.partition("=") for entry in text.split(";"))
    return tuple((unquote(name), ms) for name, _, value in named if name and (ms := _whole_number(value)) is not None)


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
