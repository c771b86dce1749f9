"""The seam every dialect of a reply goes through: bytes in, Anthropic events out."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.wire.events import Event, Usage


class Ending(StrEnum):
    """How a stream ended, as far as the decoder knows."""

    OPEN = "open"  # bytes are still expected
    COMPLETE = "complete"  # message_stop was produced
    CUT = "cut"  # ended early, nothing runnable was delivered: cut the connection, the client asks again
    ERROR = "error"  # an error event was produced; only where a retry must not happen


class Decoder(Protocol):
    """Incremental reader of one streamed reply.

    The events do not depend on how the bytes were cut. After `close` the ending is final and is never OPEN.
    """

    @property
    def ending(self) -> Ending: ...

    @property
    def usage(self) -> Usage: ...

    @property
    def failure(self) -> AnyclaudeError | None:
        """Why the ending is CUT or ERROR."""
        ...

    @property
    def progress(self) -> tuple[int, int] | None:
        """Prefill tokens (done, total) where the backend reports them."""
        ...

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, in legal order."""
        ...

    def close(self) -> list[Event]:
        """The events still owed once the backend's body has ended (or broke off)."""
        ...
