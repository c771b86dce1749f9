"""Debug levels 0-3 and the one line per request.

| level | `~/.anyclaude/logs/proxy.log` holds |
|---|---|
| 0 | start, stop, warnings and errors |
| 1 | + one line per request: lane, model, status, tokens, seconds, tools called |
| 2 | + bodies: the client's request and what was sent instead, values cut at 2,000 characters |
| 3 | + whole bodies, headers (keys hidden) and every event of the answer |

Files rotate at 50 MB and are readable by their owner alone. Keys never get in: headers are redacted by name and known
secrets by value.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.exchange import Exchange
from anyclaude_lab.settings import Secret
from anyclaude_lab.wire.events import Event, JsonObject
from anyclaude_lab.wire.headers import redact_headers

FILE_BYTES = 50 * 1000 * 1000
FILES_KEPT = 4
CUT_CHARACTERS = 2000


class _PrivateFile(RotatingFileHandler):
    """Creates every file 0600."""

    def _open(self):  # type: ignore[no-untyped-def]  # the base class does not annotate it
        descriptor = os.open(self.baseFilename, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


class _JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        return orjson.dumps(line).decode()


class Log:
    """Where the proxy tells what it does. `console` is for one line per request on a terminal that is ours."""

    def __init__(
        self,
        level: int = 0,
        folder: Path | None = None,
        *,
        json_lines: bool = False,
        console: bool = False,
        secrets: Iterable[Secret] = (),
    ) -> None:
        self.level, self.console = level, console
        self._secrets = [s.reveal() for s in secrets if len(s.reveal()) >= 8]
        self._logger = logging.Logger("anyclaude", logging.INFO)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handler = _PrivateFile(folder / "proxy.log", maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
            handler.setFormatter(
                _JsonLines() if json_lines else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
            )
            self._logger.addHandler(handler)

    def note(self, message: str) -> None:
        """Something worth keeping at every level."""
        self._logger.info(self._clean(message))

    def failure(self, request_id: str, failure: AnyclaudeError) -> None:
        """A request that was answered with an error."""
        hint = f" Hint: {failure.hint}" if failure.hint else ""
        line = self._clean(f"{request_id} {failure.status} {failure.type}: {failure.message}{hint}")
        self._logger.warning(line)
        self._say(line)

    def violation(self, request_id: str, complaint: str) -> None:
        """An event out of legal order: a defect of ours, or of the API we relay."""
        self._logger.error(self._clean(f"{request_id} illegal event order: {complaint}"))

    def crash(self, request_id: str, error: BaseException) -> None:
        """A defect: the trace goes to the file, the client gets one sentence."""
        self._logger.error(self._clean(f"{request_id} {error!r}"), exc_info=error)

    def exchange(self, facts: JsonObject, exchange: Exchange) -> None:
        """A finished exchange."""
        line = self._clean(one_line(facts))
        self._say(line)
        if self.level >= 1:
            self._logger.info(line)
        if self.level >= 2:
            self._logger.info(self._clean(f"{facts['id']} asked {self._body(exchange.call.original.body)}"))
            if exchange.sent is not exchange.call.original:
                self._logger.info(self._clean(f"{facts['id']} sent {self._body(exchange.sent.body)}"))
        if self.level >= 3:
            self._logger.info(self._clean(f"{facts['id']} headers {redact_headers(exchange.call.headers)}"))

    def events(self, request_id: str, events: list[Event]) -> None:
        """Level 3: the events as they go out."""
        if self.level >= 3 and events:
            self._logger.info(self._clean(f"{request_id} events {b''.join(e.encode() for e in events).decode()!r}"))

    def _body(self, body: JsonObject) -> str:
        return orjson.dumps(body if self.level >= 3 else _shortened(body)).decode()

    def _say(self, line: str) -> None:
        if self.console:
            print(line, file=sys.stderr, flush=True)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def one_line(facts: JsonObject) -> str:
    """`id 200 end_turn model -> backend 1234 (1200 cached) + 56 tokens, first 0.52 s, total 1.34 s, tools Read`."""
    ended = facts["stop_reason"] or facts["ending"]
    parts = [
        f"{facts['id'][:8]} {facts['status']} {ended} {facts['model']} -> {facts['backend']}",
        f"{_known(facts['prompt_tokens'])} ({_known(facts['cached_tokens'])} cached)"
        f" + {_known(facts['output_tokens'])} tokens",
        f"first {_known(facts['ttft_s'])} s, total {_known(facts['total_s'])} s",
    ]
    if facts["tools"]:
        parts.append("tools " + " ".join(facts["tools"]))
    if facts["error"]:
        parts.append(str(facts["error"]))
    return ", ".join(parts)


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
