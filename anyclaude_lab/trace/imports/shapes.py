"""Traces without content: how long each prompt was, and which blocks of tokens it shares with others.

They serve cache work alone: nothing in them can be asked again. Blocks are told by number; equal numbers in one scope
are equal beginnings of prompts up to the end of that block.

Sources: kvcache-ai/Mooncake, FAST25-release/traces (a JSON line for each request, blocks of 512 tokens, numbers that
hold for the whole file); callanjfox/kv-cache-tester, "WEKA" (a JSON object for each session, `block_size` said in it,
numbers that hold for the session, subagents nested).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.trace.files import DamagedTrace, Source, numbered_lines, sources
from anyclaude_lab.wire.events import JsonObject

MOONCAKE_BLOCK_TOKENS = 512
SUFFIXES = (".json", ".jsonl", ".jsonl.gz", ".zip")
Complain = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """One request. `blocks` are unique with their `scope`; `started_s` counts from the first request of the source."""

    session: str
    lane: str
    started_s: float
    model: str | None
    prompt_tokens: int
    output_tokens: int | None
    block_tokens: int
    scope: str
    blocks: tuple[int, ...]


def read_shapes(path: Path, complain: Complain) -> list[Shape]:
    """All requests at `path` (a file, a zip or a folder) in the order of their starts.

    What is no such request is told with file and line, and left out. Raises DamagedTrace where there is nothing there.
    """
    found, told = sources(path, SUFFIXES)
    for sentence in told:
        complain(sentence)
    shapes = []
    for source in found:
        try:
            shapes += list(_of_source(source, complain))
        except DamagedTrace as damage:
            complain(damage.message)
    return sorted(shapes, key=lambda shape: shape.started_s)


def _of_source(source: Source, complain: Complain) -> Iterator[Shape]:
    for place, value in _values(source, complain):
        try:
            if "requests" in value:
                name = str(value.get("id") or f"{source.stem}:{place.rpartition(':')[2]}")
                yield from _session(name, value["requests"], _whole(value["block_size"]), place, "main", 0.0)
            else:
                yield _mooncake(value, source)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            complain(
                f"{place}: {type(error).__name__}: {error}; wanted is a request as Mooncake writes it (input_length, "
                "hash_ids) or a session as WEKA does (block_size, requests). It is left out."
            )


def _values(source: Source, complain: Complain) -> Iterator[tuple[str, JsonObject]]:
    """(file and line, object): one for each line, or the whole file where it is one object over many lines."""
    lines = list(numbered_lines(source)) if source.name.endswith(".json") else numbered_lines(source)
    if isinstance(lines, list):
        lines = [(1, b"".join(line for _, line in lines))]
    for number, line in lines:
        place = f"{source.name}:{number}"
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            complain(f"{place}: it is no JSON ({error}); it is left out.")
            continue
        for one in value if isinstance(value, list) else [value]:
            yield place, one


def _mooncake(line: JsonObject, source: Source) -> Shape:
    block_tokens = _whole(line.get("block_size", MOONCAKE_BLOCK_TOKENS))
    session = str(line.get("session_id") or source.stem)
    return _shape(line, ("input_length", "output_length"), session, "main", line["timestamp"] / 1000, block_tokens, "")


def _session(
    session: str, requests: list[JsonObject], block_tokens: int, scope: str, lane: str, offset_s: float
) -> Iterator[Shape]:
    for request in requests:
        if request.get("type") == "subagent":
            inner, started_s = request["requests"], offset_s + request["t"]
            # Times of a subagent count from its own start in some recordings, from the session's in others.
            own = bool(inner) and min(one["t"] for one in inner) < request["t"]
            name = str(request.get("agent_id") or "subagent")
            yield from _session(session, inner, block_tokens, scope, name, started_s if own else offset_s)
        else:
            yield _shape(request, ("in", "out"), session, lane, offset_s + request["t"], block_tokens, scope)


def _shape(
    told: JsonObject, names: tuple[str, str], session: str, lane: str, started_s: float, block_tokens: int, scope: str
) -> Shape:
    output, model = told.get(names[1]), told.get("model")
    return Shape(
        session,
        lane,
        float(started_s),
        None if model is None else str(model),
        _whole(told[names[0]]),
        None if output is None else _whole(output),
        block_tokens,
        scope,
        tuple(_whole(number) for number in told["hash_ids"]),
    )


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no whole number from 0 on")
    return value
