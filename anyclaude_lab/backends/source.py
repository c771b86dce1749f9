"""What the body of an answer is read from, whatever connection it comes over."""

from __future__ import annotations

from typing import Protocol

from anyclaude_lab.backends.base import Taker


class Source(Protocol):
    """The body of an answer as it arrives."""

    async def read(self, patience_s: float) -> bytes:
        """What has arrived; b"" at the end. Raises TimeoutError after so long a silence; whatever else means a cut."""
        ...

    def hand_to(self, taker: Taker | None, patience_s: float) -> None:
        """See `Reply.hand_to`; a source that cannot do it lets every piece be read. The next may take `patience_s`."""
        ...

    def abort(self) -> None:
        """Hang up now, without a goodbye."""
        ...
