"""The folder that Claude Code fills with `OTEL_LOG_RAW_API_BODIES=file:FOLDER`.

`<uuid>.request.json` is a request's body, `<request id>.response.json` the whole message it was answered with.
`index.jsonl` says which belong together (`request_file`, `response_file`), as seen with 2.1.330. In a folder without it
an answer belongs to the request whose history a later request continues with it, else to the oldest one without an
answer. Times are those of the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.trace.files import Source, numbered_lines
from anyclaude_lab.trace.imports.exchange import WRONG_SHAPE, Complain, exchange, parsed, read_json, reason
from anyclaude_lab.trace.record import Entry
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import as_blocks


@dataclass(slots=True)
class _Body:
    file: Path
    value: JsonObject
    at: float


def read(folder: Path, complain: Complain) -> Iterator[Entry]:
    """The exchanges in the folder, in the order of their requests."""
    requests, responses = _bodies(folder, "request", complain), _bodies(folder, "response", complain)
    answers = _indexed(folder, responses, complain)
    claimed = {answer.file for answer in answers.values()}
    answers |= _paired(
        [request for request in requests if request.file not in answers],
        [response for response in responses if response.file not in claimed],
    )
    for request in requests:
        answer = answers.get(request.file)
        if answer is None:
            complain(f"{request.file}: no answer belongs to it; it is left out.")
            continue
        try:
            yield exchange(
                request.file.read_bytes(),
                answer.file.read_bytes(),
                kind="raw-bodies",
                at=request.at,
                status=200,
                answered_s=round(max(0.0, answer.at - request.at), 3),
            )
        except WRONG_SHAPE as error:
            complain(f"{request.file}, line 1: {reason(error)}; it is left out.")


def _indexed(folder: Path, responses: list[_Body], complain: Complain) -> dict[Path, _Body]:
    """The pairs that the client itself tells."""
    by_name = {response.file.name: response for response in responses}
    index = folder / "index.jsonl"
    pairs: dict[Path, _Body] = {}
    for number, raw in numbered_lines(Source(index)) if index.is_file() else ():
        line = parsed(raw)
        if not isinstance(line, dict):
            complain(f"{index}, line {number}: it is not JSON; it is left out.")
        elif (response := by_name.get(str(line.get("response_file")))) is not None:
            pairs[folder / Path(str(line.get("request_file"))).name] = response
    return pairs


def _paired(requests: list[_Body], responses: list[_Body]) -> dict[Path, _Body]:
    """The answer of each request."""
    by_history = {_history(request.value.get("messages")): request for request in requests}
    origin: dict[bytes, _Body] = {}  # what was said -> the request whose history it continues
    for request in requests:
        messages = list(request.value.get("messages") or [])
        for place, message in enumerate(messages):
            if isinstance(message, dict) and message.get("role") == "assistant":
                asked = by_history.get(_history(messages[:place]))
                if asked is not None:
                    origin.setdefault(_said(message.get("content")), asked)
    paired: dict[Path, _Body] = {}
    rest: list[_Body] = []
    for response in responses:
        asked = origin.get(_said(response.value.get("content")))
        if asked is None or asked.file in paired:
            rest.append(response)
        else:
            paired[asked.file] = response
    for response in rest:
        waiting = [request for request in requests if request.file not in paired and request.at <= response.at]
        if waiting:
            paired[waiting[0].file] = response
    return paired


def _bodies(folder: Path, kind: str, complain: Complain) -> list[_Body]:
    found = []
    for file in folder.glob(f"*.{kind}.json"):
        value = read_json(file, complain)
        if isinstance(value, dict):
            found.append(_Body(file, value, file.stat().st_mtime))
        elif value is not None:
            complain(f"{file}, line 1: it is no JSON object; it is left out.")
    return sorted(found, key=lambda body: (body.at, body.file.name))


def _history(messages: Any) -> bytes:
    return orjson.dumps(
        [[m.get("role"), _said(m.get("content")).decode()] for m in messages or [] if isinstance(m, dict)]
    )


def _said(content: Any) -> bytes:
    """What a message says, without markers: equal for an answer and its copy in a later history."""
    blocks = [block for block in as_blocks(content) if isinstance(block, dict)]
    told = [
        [block.get("type"), block.get("text"), block.get("id") or block.get("tool_use_id"), block.get("thinking")]
        for block in blocks
    ]
    return orjson.dumps(told)
