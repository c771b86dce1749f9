"""What a server can do with the model it has, found out by three questions of a few tokens, and remembered for a week.

Asked is what templates and servers differ in; a refusal is an answer too. Nothing is generated beyond a few tokens. Of
what costs money only the list of models is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import orjson

from anyclaude_lab.backends.ask import CHAT, Ask
from anyclaude_lab.backends.base import RawHeaders
from anyclaude_lab.backends.http import Answer
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import Dialect

FEW_TOKENS = 8  # enough to see where reasoning is written
PATIENCE_S = 20.0
EXPIRE_S = 7 * 86_400.0
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
NOT_ABOUT_THE_BODY = (401, 403, 408, 429)

_SAY: list[JsonObject] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say OK."}]
_MIDDLE: list[JsonObject] = [
    *_SAY,
    {"role": "assistant", "content": "OK"},
    {"role": "system", "content": "Be briefer."},
    {"role": "user", "content": "Again."},
]
_TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at a file.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """None: not known. `parallel_calls`: a turn of the history may hold several; `mid_system`: a system message too."""

    streaming: bool | None = None
    usage: bool | None = None
    cached_tokens: bool | None = None  # the server tells how much of a prompt it had
    reasoning_field: str | None = None
    tools: bool | None = None
    parallel_calls: bool | None = None
    mid_system: bool | None = None
    window_tokens: int | None = None

    def applied(self, dialect: Dialect) -> Dialect:
        """The dialect without what was refused. What was taken changes nothing: it may still be put elsewhere."""
        if self.parallel_calls is False:
            dialect = replace(dialect, one_call_per_message=True)
        if self.mid_system is False:
            dialect = replace(dialect, mid_system="reminder")
        return dialect

    def told(self) -> str:
        """One line for people."""
        words = {True: "yes", False: "no", None: "unknown"}
        reasoning = self.reasoning_field or "none seen"
        return (
            f"streaming {words[self.streaming]}, usage {words[self.usage]}, cached tokens {words[self.cached_tokens]}, "
            f"tools {words[self.tools]}, several calls in a turn {words[self.parallel_calls]}, "
            f"system message in the middle {words[self.mid_system]}, reasoning field: {reasoning}"
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave. Raises TypeError on anything else."""
        for field in fields(cls):
            kind: Any = str if field.name == "reasoning_field" else int if field.name == "window_tokens" else bool
            if value.get(field.name) is not None and not isinstance(value[field.name], kind):
                raise TypeError(field.name)
        return cls(**value)


async def probe(ask: Ask, model: str, headers: RawHeaders = ()) -> Capabilities | None:
    """Put the three questions; None where the server does not answer the plainest one."""

    async def answer(messages: list[JsonObject], max_tokens: int = 1, **more: Any) -> Answer | None:
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "stream": True, "temperature": 0}
        body |= {"stream_options": {"include_usage": True}} | more
        return await ask.posted(CHAT, body, headers=headers, timeout_s=PATIENCE_S)

    plain = await answer(_SAY, FEW_TOKENS)
    if plain is None or not plain.ok:
        return None
    several = _taken(await answer(_called(2), tools=[_TOOL]))
    tools = several or _taken(await answer(_called(1), tools=[_TOOL]))
    middle = _taken(await answer(_MIDDLE))
    return replace(_seen(plain), tools=tools, parallel_calls=several if tools else None, mid_system=middle)


def told_by(entry: Mapping[str, Any]) -> Capabilities | None:
    """What an entry of OpenRouter's list of models says. Source: openrouter.ai/docs, "Models"."""
    parameters = entry.get("supported_parameters")
    if not isinstance(parameters, list):
        return None
    reasons = "reasoning" in parameters or "include_reasoning" in parameters
    return Capabilities(
        streaming=True, usage=True, reasoning_field="reasoning" if reasons else None, tools="tools" in parameters
    )


def _called(count: int) -> list[JsonObject]:
    """A conversation in which one turn made so many calls."""
    ids = [f"call{number:05}" for number in range(count)]  # nine letters and digits: some templates take no others
    call = {"name": "look", "arguments": '{"path": "a.txt"}'}
    calls = [{"id": each, "type": "function", "function": call} for each in ids]
    results: list[JsonObject] = [{"role": "tool", "tool_call_id": each, "content": "empty"} for each in ids]
    return [*_SAY, {"role": "assistant", "content": "", "tool_calls": calls}, *results]


def _taken(answer: Answer | None) -> bool | None:
    """Whether the server took the question; None where its answer says nothing about that."""
    if answer is None or answer.status >= 500 or answer.status in NOT_ABOUT_THE_BODY:
        return None
    return answer.ok


def _seen(answer: Answer) -> Capabilities:
    chunks = list(_chunks(answer.body))
    usage = [chunk["usage"] for chunk in chunks if isinstance(chunk.get("usage"), dict)]
    details = [part.get("prompt_tokens_details") for part in usage]
    cached = any(isinstance(d, dict) and "cached_tokens" in d for d in details) or any("timings" in c for c in chunks)
    choices = [choice for chunk in chunks for choice in _objects(chunk.get("choices"))]
    deltas = _objects([choice.get("delta") for choice in choices])
    reasoning = next((name for name in REASONING_FIELDS if any(delta.get(name) for delta in deltas)), None)
    return Capabilities(
        streaming=bool(chunks), usage=bool(usage), cached_tokens=cached if usage else None, reasoning_field=reasoning
    )


def _objects(value: object) -> list[JsonObject]:
    """What of a list are objects; nothing where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _chunks(body: bytes) -> Iterator[JsonObject]:
    for line in body.splitlines():
        with contextlib.suppress(ValueError):
            value = orjson.loads(line.removeprefix(b"data:")) if line.startswith(b"data:") else None
            if isinstance(value, dict):
                yield value


@dataclass(frozen=True, slots=True)
class CapabilityFile:
    """What is remembered, by address, model and the server's version. A file that is spoilt is as good as none."""

    path: Path

    def get(self, *about: str) -> Capabilities | None:
        """None where it is unknown, or older than a week."""
        entry = self._fresh().get(_key(about))
        try:
            return Capabilities.from_json(entry["found"]) if entry else None
        except (KeyError, TypeError, AttributeError):
            return None

    def put(self, *about: str, found: Capabilities) -> None:
        """Remember it; what is too old goes. Nothing happens where the file cannot be written."""
        kept = self._fresh() | {_key(about): {"at": time.time(), "found": asdict(found)}}
        scratch = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(kept, file)
            scratch.replace(self.path)

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def _fresh(self) -> dict[str, Any]:
        """The entries that count: ours, and not too old."""
        entries = [(key, entry) for key, entry in self._read().items() if isinstance(entry, dict)]
        return {key: entry for key, entry in entries if 0 <= time.time() - _seconds(entry.get("at")) < EXPIRE_S}


def _seconds(value: object) -> float:
    with contextlib.suppress(OverflowError):
        return float(value) if isinstance(value, int | float) else 0.0
    return 0.0


def _key(about: Iterable[str]) -> str:
    """Addresses may hold passwords."""
    return hashlib.sha256(" ".join(about).encode()).hexdigest()[:32]
