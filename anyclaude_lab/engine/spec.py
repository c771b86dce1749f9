"""What a local model server is: the program, how to see that it answers, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any, Self

from anyclaude_lab import __version__

JsonObject = dict[str, Any]
PORT = "{port}"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server that listens on one loopback port.

    `program` is a Python module or a `.py` file, run in a process of its own; `{port}` in `arguments` stands for the
    port. `identity` holds everything else two launchers must agree on to share one server: versions, the state of the
    model's files. `ready_body` is sent to `ready_path` until it is answered with 200 (None: a GET).
    """

    engine: str  # what people call it
    program: str
    arguments: tuple[str, ...]
    model_name: str  # what a request must call the model
    ready_path: str
    ready_body: JsonObject | None = None
    environment: tuple[tuple[str, str], ...] = ()  # added to the launcher's own
    identity: tuple[str, ...] = ()
    port: int | None = None  # None: a free one
    startup_timeout_s: float = 120.0
    remarks: tuple[str, ...] = ()  # first lines of the log
    refusal_code: int | None = None  # the exit code of a program whose last line then says why it cannot serve

    @property
    def fingerprint(self) -> str:
        """64 hex digits, equal where one server can serve both. A loopback server is only good for its own machine."""
        parts = [self.engine, self.program, self.arguments, self.environment, self.identity, self.port]
        told = json.dumps([*parts, __version__, sys.executable, platform.node()])
        return hashlib.sha256(told.encode()).hexdigest()

    def as_json(self) -> JsonObject:
        """For the keeper's eyes."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `as_json` gave, after a journey through JSON."""
        lists = {name: tuple(value[name]) for name in ("arguments", "identity", "remarks")}
        environment = tuple((name, text) for name, text in value["environment"])
        return cls(**{**value, **lists, "environment": environment})
