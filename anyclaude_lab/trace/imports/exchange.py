"""What every importer ends in: one exchange out of a body and an answer, with the identity our own recorder gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.trace.record import Entry, Recording
from anyclaude_lab.wire.anthropic import AnthropicDecoder, usage_of
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.headers import ClientHints, lane_key
from anyclaude_lab.wire.request import parse_request

Complain = Callable[[str], None]
MAX_FILE_BYTES = 512 * 1024 * 1024


def exchange(
    body: bytes,
    answer: bytes,
    *,
    kind: str,
    at: float,
    status: int,
    request_headers: Iterable[tuple[str, str]] = (),
    response_headers: Iterable[tuple[str, str]] = (),
    answered_s: float | None = None,
    exact: bool = False,
) -> Entry:
    """The exchange as an entry. `at` is seconds since 1970, `answered_s` when the answer was there.

    `exact`: body and answer are the bytes that travelled. Raises InvalidRequest where `body` is no Messages request.
    """
    request = parse_request(body)
    headers = list(request_headers)
    hints = ClientHints.from_headers(headers, request.body)
    lane = lane_key(hints, request)
    facts = {
        "request_id": hashlib.sha256(body + answer + repr(at).encode()).hexdigest()[:24],
        "lane": lane,
        "agent": hints.agent_id,
        "request_class": hints.request_class,
        "sent": None,
        "model": request.model,
        "backend": None,
        **_facts_of_answer(answer),
        "total_s": answered_s,
        "imported": kind,
    }
    return Entry(
        session=hints.session_id or lane.partition("/")[0],
        facts=facts,
        status=status,
        body=body,
        recording=Recording(at, [(answered_s, answer)] if answer else []),
        request_headers=headers,
        response_headers=[pair for pair in response_headers if pair[0].lower() != "content-encoding"],
        at=at,
        exact=exact,
    )


def _facts_of_answer(answer: bytes) -> JsonObject:
    """Usage, stop reason and ending, of a stream or of a whole message."""
    message = parsed(answer)
    if isinstance(message, dict):
        usage, stop, ending = usage_of(message.get("usage") or {}), message.get("stop_reason"), Ending.COMPLETE
    else:
        decoder = AnthropicDecoder()
        events = [*decoder.feed(answer), *decoder.close()]
        usage, ending = decoder.usage, decoder.ending
        stops = [
            (event.data.get("delta") or {}).get("stop_reason") for event in events if event.type == "message_delta"
        ]
        stop = stops[-1] if stops else None
    counts = {"prompt_tokens": usage.prompt_tokens, "cached_tokens": usage.cached_tokens}
    return {
        "usage": counts | {"output_tokens": usage.output_tokens},
        "stop_reason": stop,
        "ending": ending.value if answer else None,
        "error": None,
    }


def read_json(file: Path, complain: Complain) -> Any:
    """The JSON in a file; None, told, where it cannot be read."""
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            complain(f"{file}: it has more than {MAX_FILE_BYTES} bytes; it is left out.")
            return None
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        complain(f"{file}, line {error.lineno}: it is not JSON; it is left out.")
    except OSError as error:
        complain(f"{file} cannot be read: {error.strerror or error}.")
    return None


def spelled(value: Any) -> bytes:
    """A body that a recording holds as JSON or as text, as bytes."""
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def pairs(headers: Any) -> list[tuple[str, str]]:
    """Headers as pairs, whether they came as an object or as a list of names and values."""
    if isinstance(headers, dict):
        return [(str(name), str(value)) for name, value in headers.items()]
    if isinstance(headers, list):
        return [(str(h["name"]), str(h.get("value", ""))) for h in headers if isinstance(h, dict) and "name" in h]
    return []


def seconds(timestamp: Any) -> float:
    """Seconds since 1970 of a number or an ISO date. Raises ValueError."""
    if isinstance(timestamp, int | float) and not isinstance(timestamp, bool):
        return float(timestamp)
    found = datetime.fromisoformat(str(timestamp).replace("Z", "+00:00"))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def is_messages(url: Any) -> bool:
    """Whether an address is that of the Messages API, and not of counting."""
    return str(url).partition("?")[0].rstrip("/").endswith("/v1/messages")


def parsed(data: bytes) -> Any:
    """The JSON value `data` spells, else None."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


WRONG_SHAPE = (InvalidRequest, KeyError, TypeError, ValueError, AttributeError, IndexError)


def reason(error: Exception) -> str:
    """Why an item was left out, in words."""
    return str(error) if isinstance(error, InvalidRequest) else "a field is missing or has the wrong type"
