"""Debug levels 0-3 and the one line per request. docs/observability.md says what each level holds.

Keys never get in: headers are hidden by name, known secrets by value, the rest by shape.
"""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import orjson

from anyclaude_lab.backends.base import Call
from anyclaude_lab.errors import AnyclaudeError, printable
from anyclaude_lab.exchange import Exchange
from anyclaude_lab.prompt.pipeline import Report
from anyclaude_lab.proxy.joined_texts import JoinedTexts
from anyclaude_lab.settings import Secret
from anyclaude_lab.trace.redaction import SHAPES, START
from anyclaude_lab.wire.events import Event, JsonObject
from anyclaude_lab.wire.headers import HeaderPairs, readable, redact_headers

FILE_BYTES = 50_000_000
FILES_KEPT = 4  # proxy.log.1, the youngest, to proxy.log.4
CUT_CHARACTERS = 2000
LEAST_SECRET = 8  # shorter values would hide ordinary words
HIDDEN = "***"

# Looser than what a recording hides: a log is read by more people, and nobody replays it.
_KEY_SHAPES = (
    re.compile(rf"{START}(?:sk|tvly|gsk|hf)[-_][A-Za-z0-9_-]{{8,}}"),
    re.compile(r"(?<=\bBearer )[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^/@\s\"']+:[^/@\s\"']+(?=@)"),
    re.compile(r"(?<=[?&])((?:api[_-]?|access[_-]?)?(?:key|token)=)[^&\s\"'\\]+", re.IGNORECASE),
)


class Log:
    """Where the proxy tells what it does. `console`: one line per request on stderr, which is a terminal of ours."""

    def __init__(
        self,
        level: int = 0,
        folder: Path | None = None,
        *,
        json_lines: bool = False,
        console: bool = False,
        secrets: Iterable[Secret] = (),
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self.level, self.console = level, console
        self._form = _json_line if json_lines else _text_line
        self._secrets = _longest_first(s.reveal() for s in secrets)
        self._file = _RotatedFile(folder, file_bytes) if folder is not None else None
        self._cut_characters = file_bytes // 8  # whatever its letters become, a line fits into a file
        self._texts = JoinedTexts(self._cut_characters)

    def note(self, message: str) -> None:
        """Something worth keeping at every level."""
        self._write("INFO", self.clean(message))

    def failure(self, request_id: str, failure: AnyclaudeError) -> None:
        """A request that was answered with an error."""
        hint = f" Hint: {failure.hint}" if failure.hint else ""
        line = self.clean(f"{request_id[:8]} {failure.status} {failure.type}: {failure.message}{hint}")
        self._write("WARNING", line, say=True)

    def violation(self, request_id: str, complaint: str) -> None:
        """An event out of legal order: a defect of ours, or of the API we relay."""
        self._write("ERROR", self.clean(f"{request_id[:8]} illegal event order: {complaint}"))

    def crash(self, request_id: str, error: BaseException) -> None:
        """A defect: the trace goes to the file, the client gets one sentence."""
        self._write("ERROR", self.clean(f"{request_id[:8]} {error!r}"))
        for line in "".join(traceback.format_exception(error)).splitlines():
            self._write("ERROR", self.clean(f"{request_id[:8]} | {line}"))

    def search(self, request_id: str, service: str, pages: int) -> None:
        """A web search that was answered."""
        line = self.clean(f"{request_id[:8]} 200 web search: {pages} pages from {service}")
        self._write("INFO", line, say=True, least=1)

    def exchange(self, facts: JsonObject, exchange: Exchange) -> None:
        """A finished exchange."""
        call, name = exchange.call, str(facts["id"])[:8]
        self._tell_events(call, self._texts.rest(call.request_id))
        failed = bool(facts["error"])
        severity, least = ("WARNING", 0) if failed else ("INFO", 1)
        if self.console or self.level >= least:
            self._write(severity, self.clean(one_line(facts)), say=True, least=least)
        if self.level < 2:
            return
        if facts["chosen"]:
            self._write("INFO", self.clean(f"{name} went to {facts['backend']}: {facts['chosen']}"))
        own = _credentials(call.headers)
        self._write("INFO", self.clean(f"{name} asked {self._body(call.original.body)}", own))
        for step in exchange.reports:
            self._write("INFO", self.clean(f"{name} {step_line(step)}"))
        if exchange.sent is not call.original:
            self._write("INFO", self.clean(f"{name} sent {self._body(exchange.sent.body)}", own))
        if self.level >= 3:
            shown = [f"{header}: {readable(value)}" for header, value in redact_headers(call.headers)]
            self._write("INFO", self.clean(f"{name} headers {orjson.dumps(shown).decode()}", own))

    @property
    def tells_events(self) -> bool:
        """Whether `events` says anything."""
        return self.level >= 3

    def events(self, call: Call, events: list[Event]) -> None:
        """Level 3: the events of an answer as they come, a text when it is whole, at the latest with `exchange`."""
        if self.level >= 3:
            self._tell_events(call, self._texts.told(call.request_id, events))

    def _tell_events(self, call: Call, events: Iterable[JsonObject]) -> None:
        own = _credentials(call.headers) if self.level >= 3 else []
        for event in events:
            self._write("INFO", self.clean(f"{call.request_id[:8]} event {orjson.dumps(event).decode()}", own))

    def clean(self, text: str, secrets: Iterable[str] = ()) -> str:
        """The text as it may be shown to anyone: without keys, and on one line."""
        for secret in (*self._secrets, *secrets):
            text = text.replace(secret, HIDDEN)
        for shape in _KEY_SHAPES:
            text = shape.sub(lambda match: (match[1] if match.lastindex else "") + HIDDEN, text)
        for known in SHAPES:
            if known.anchor in text:
                text = known.pattern.sub(_with_its_group_hidden, text)
        return printable(text)

    def _body(self, body: JsonObject) -> str:
        return orjson.dumps(body if self.level >= 3 else _shortened(body)).decode()

    def _write(self, severity: str, message: str, *, say: bool = False, least: int = 0) -> None:
        line = self._form(severity, message[: self._cut_characters])
        if say and self.console:
            print(line if self._form is _json_line else message, file=sys.stderr, flush=True)
        if self._file is not None and self.level >= least:
            self._file.append(line + "\n")


def _with_its_group_hidden(match: re.Match[str]) -> str:
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    return match[0][:start] + HIDDEN + match[0][end:]


class _RotatedFile:
    """`proxy.log` and what was rotated out of it, readable by their owner alone, none larger than `file_bytes`.

    Opened anew for every line: several proxies share the file, and any of them may rotate it. A full disk, or a folder
    that cannot be written, costs the line and nothing else.
    """

    def __init__(self, folder: Path, file_bytes: int) -> None:
        self._path, self._limit = folder / "proxy.log", file_bytes
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            self._path.chmod(0o600)

    def append(self, line: str) -> None:
        data = line.encode("utf-8", "replace")
        with suppress(OSError):
            if self._path.exists() and self._path.stat().st_size + len(data) > self._limit:
                self._rotate()
            descriptor = os.open(self._path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(data)

    def _rotate(self) -> None:
        for number in range(FILES_KEPT, 0, -1):
            younger = self._path.with_suffix(f".log.{number - 1}") if number > 1 else self._path
            if younger.exists():
                younger.replace(self._path.with_suffix(f".log.{number}"))


def step_line(step: Report) -> str:
    """What one step of the prompt work did, section by section."""
    sections = (
        (name, getattr(step.before, name), getattr(step.after, name)) for name in ("system", "tools", "messages")
    )
    told = ", ".join(f"{name} {before:,} -> {after:,}" for name, before, after in sections if before != after)
    return f"{step.name}: {told or 'the same length'} characters{f' ({step.note})' if step.note else ''}"


def one_line(facts: JsonObject) -> str:
    """`id 200 end_turn model -> backend, 1234 (1200 cached) + 56 tokens, first 0.52 s, total 1.34 s, tools Read`."""
    ended = facts["stop_reason"] or facts["ending"]
    parts = [f"{facts['id'][:8]} {facts['status']} {ended} {facts['model'] or facts['path']} -> {facts['backend']}"]
    if facts["model"]:
        cached, output = _known(facts["cached_tokens"]), _known(facts["output_tokens"])
        parts.append(f"{_known(facts['prompt_tokens'])} ({cached} cached) + {output} tokens")
        parts.append(f"first {_known(facts['ttft_s'])} s")
    parts.append(f"total {_known(facts['total_s'])} s")
    if facts["tools"]:
        parts.append("tools " + " ".join(facts["tools"]))
    if facts["error"]:
        parts.append(str(facts["error"]))
    if facts["hint"]:
        parts.append(f"hint: {facts['hint']}")
    return ", ".join(parts)


def _text_line(severity: str, message: str) -> str:
    now = time.time()
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    return f"{clock}.{int(now * 1000) % 1000:03d} {severity} {message}"


def _json_line(severity: str, message: str) -> str:
    return orjson.dumps({"time": round(time.time(), 3), "level": severity, "message": message}).decode()


def _credentials(headers: HeaderPairs) -> list[str]:
    """The values of the client's headers that open a door, to be hidden wherever else they stand."""
    pairs = list(headers)
    hidden = [value for (_, value), (_, shown) in zip(pairs, redact_headers(pairs), strict=True) if shown == HIDDEN]
    return _longest_first(value.removeprefix("Bearer ") for value in hidden)


def _longest_first(secrets: Iterable[str]) -> list[str]:
    return sorted({s for s in secrets if len(s) >= LEAST_SECRET}, key=len, reverse=True)


def _known(value: object) -> object:
    return "?" if value is None else value


def _shortened(value: object) -> object:
    if isinstance(value, str) and len(value) > CUT_CHARACTERS:
        return f"{value[:CUT_CHARACTERS]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {k: _shortened(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_shortened(v) for v in value]
    return value
