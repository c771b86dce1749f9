"""The backend `scripted`: it answers what was recorded. Cache and times are those of a model of a server.

Reused tokens are those of `MlxCache`; times are made up of `PREFILL_TPS` and `DECODE_TPS`. With it a whole replay runs
without model, key or network, and every figure is the same on every machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from anyclaude_lab.backends.base import Call, Reply
from anyclaude_lab.errors import BackendFailed
from anyclaude_lab.trace.read import Recorded
from anyclaude_lab.wire.anthropic import AnthropicDecoder
from anyclaude_lab.wire.events import Event, JsonObject
from anyclaude_lab.wire.fold import unfold
from anyclaude_lab.wire.request import Request

PREFILL_TPS, DECODE_TPS = 500.0, 40.0


class ScriptedBackend:
    """Answers the exchange that `Call.request_id` names. `answers` finds it."""

    name = "scripted"
    translating = True
    loses_prefill_on_abort = False

    def __init__(self, answers: Callable[[str], Recorded | None]) -> None:
        self._answers = answers

    async def send(self, request: Request, call: Call) -> Reply:
        """The recorded answer, in one piece. Raises BackendFailed where there is none."""
        recorded = self._answers(call.request_id)
        if recorded is None or not recorded.answer:
            raise BackendFailed("The trace holds no answer for this request.")
        answer = recorded.answer.encode()
        if answer.startswith(b"{"):
            answer = _as_stream(answer)
        return Reply(200, [], _once(answer), AnthropicDecoder(), _nothing, backend=self.name)

    async def count(self, request: Request) -> int | None:
        return None

    async def window_tokens(self) -> int | None:
        return None

    async def health(self) -> str | None:
        return None

    def status(self) -> JsonObject:
        return {"name": self.name, "state": "ready"}

    async def close(self) -> None:
        return None


def simulated_s(uncached_tokens: int, output_tokens: int) -> tuple[float, float]:
    """(first content, end) in seconds, for a server of those speeds."""
    first = uncached_tokens / PREFILL_TPS
    return first, first + max(0, output_tokens - 1) / DECODE_TPS


def _as_stream(body: bytes) -> bytes:
    from anyclaude_lab.wire.json_text import loads

    try:
        message = loads(body)
        events: list[Event] = unfold(message)
    except (ValueError, KeyError, TypeError):
        raise BackendFailed("The recorded answer is an error or no message.") from None
    return b"".join(event.encode() for event in events)


async def _once(answer: bytes) -> AsyncIterator[bytes]:
    yield answer


async def _nothing() -> None:
    return None
