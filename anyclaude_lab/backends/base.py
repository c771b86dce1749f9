"""The seam between an exchange and whatever answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from anyclaude_lab.wire.decoder import Decoder
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request

PROMPT_TOKEN_S = 0.02  # what one token of a prompt may take: 50 a second, a large model on a small machine
RawHeaders = Sequence[tuple[str, str]]  # in the order they came, spelling kept


@dataclass(frozen=True, slots=True)
class Call:
    """What a backend needs to know about one request besides its content.

    `method`, `path_qs`, `headers` and `body` are what the client sent, for passthrough. `original` is the request
    before any transform: tool calls are judged against its schemas.
    """

    request_id: str
    lane: str
    original: Request
    method: str = "POST"
    path_qs: str = "/v1/messages"
    body: bytes = b""
    headers: RawHeaders = ()
    background: bool = False  # a helper request (titles, summaries, probes): may go to a smaller model
    prompt_tokens: int | None = None  # estimate of the rendered prompt
    prompt_tokens_uncached: int | None = None  # how much of it has to be computed, where that can be told

    @property
    def computed_tokens(self) -> int | None:
        """How much of the prompt the backend has to compute, at most; time limits scale with it."""
        return self.prompt_tokens if self.prompt_tokens_uncached is None else self.prompt_tokens_uncached

    @property
    def prompt_s(self) -> float:
        """What that may take."""
        return (self.computed_tokens or 0) * PROMPT_TOKEN_S


# Takes a piece of a body as it arrives; False where it has to be read as usual.
Taker = Callable[[bytes], bool]


def _taken_by_nobody(taker: Taker | None) -> None:
    """For a body that is only read."""


@dataclass(slots=True)
class Reply:
    """A backend's answer: status and headers are known, the body is still arriving.

    Reading `body` raises StreamCut where the connection breaks before its end, BackendTimeout after too long a silence.
    A read that was cancelled may be repeated; nothing is lost.

    `decoder` turns the body into events; None means the body is not to be read as events at all (passthrough of
    anything that is not a stream of messages). `close` lets go of the connection at once, finished or not; the
    backend must notice. A refusal of a translating backend is raised as an `AnyclaudeError` by `send`, never returned.
    """

    status: int
    headers: RawHeaders
    body: AsyncIterator[bytes]
    decoder: Decoder | None
    close: Callable[[], Awaitable[None]]
    backend: str = ""  # who answered: the backend's name, or the cluster node's
    model: str | None = None  # the backend's own id of the model that was asked
    notes: list[str] = field(default_factory=list)  # what the translation had to give up, for the log
    # Who may take a piece at once while a read is being waited for, without waking it; None: nobody any more.
    hand_to: Callable[[Taker | None], None] = _taken_by_nobody
    why: str | None = None  # why this node of a cluster was asked


class Backend(Protocol):
    """One place that answers.

    `translating` says whether the request is rewritten for another API; False is byte-identical passthrough.
    """

    @property
    def name(self) -> str: ...

    @property
    def translating(self) -> bool: ...

    @property
    def loses_prefill_on_abort(self) -> bool:
        """Whether a closed connection throws the computed prompt away (mlx-lm)."""
        ...

    async def send(self, request: Request, call: Call) -> Reply:
        """Ask. Returns once the backend's response headers are there; raises `AnyclaudeError` on a refusal."""
        ...

    async def count(self, request: Request) -> int | None:
        """Prompt tokens of `request` as this backend renders it, without generating; None where it cannot say."""
        ...

    async def window_tokens(self) -> int | None:
        """The context window the backend reports for its model; None where it cannot say."""
        ...

    async def health(self) -> str | None:
        """None when it answers, else one sentence that says what is wrong and what to do."""
        ...

    def status(self) -> JsonObject:
        """A snapshot for metrics and the dashboard: name, url without credentials, state; cluster nodes if any."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


Headers = Mapping[str, str]
