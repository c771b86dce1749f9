"""What a scripted server answers: replies, refusals and faults, in words that belong to no dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .http import DEADLINE_S, Hangup, JsonObject, Responder

Place = Literal["start", "thinking", "text", "tool", "end", "last"]
"""Where in a stream a frame stands: before content, in a kind of content, the closing frames, the very last."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. `raw_arguments` sends that text in the place of the input's JSON, well formed or not."""

    name: str
    input: JsonObject
    id: str | None = None
    raw_arguments: str | None = None


Part = Text | Thinking | ToolCall


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection closes in the middle of a frame of that place."""

    at: Place = "text"


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """The body ends, correctly as HTTP, right after a frame of that place: for the dialect it is unfinished."""

    at: Place = "text"


@dataclass(frozen=True, slots=True)
class StreamError:
    """The server reports an error of its own inside the stream, after a frame of that place."""

    at: Place = "text"
    type: str = "overloaded_error"
    message: str = "Overloaded"
    code: int = 529


@dataclass(frozen=True, slots=True)
class Stall:
    """The server falls silent after a frame of that place, for so long, until something is so or the other side leaves.

    Then it goes on.
    """

    at: Place = "text"
    seconds: float = 24 * 3600
    until: Callable[[], bool] | None = None


Fault = Cut | CleanEnd | StreamError | Stall


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model.

    Token counts that are None are made up from sizes. `silence_s` passes between the headers and the first content, or
    whatever time it takes `until` something is so; `gap_s` passes between frames; `endless` repeats the last text until
    the other side hangs up.
    """

    parts: tuple[Part, ...]
    stop: Literal["end", "tool", "length", "refusal"] | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    silence_s: float = 0.0
    until: Callable[[], bool] | None = None
    gap_s: float = 0.0
    fault: Fault | None = None
    endless: bool = False

    @property
    def stop_kind(self) -> Literal["end", "tool", "length", "refusal"]:
        if self.stop is not None:
            return self.stop
        return "tool" if any(isinstance(part, ToolCall) for part in self.parts) else "end"


def reply(*parts: Part | str, **options: object) -> Reply:
    """A reply of these parts; a bare string is text."""
    return Reply(tuple(Text(p) if isinstance(p, str) else p for p in parts), **options)  # type: ignore[arg-type]  # options are Reply's own fields


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP error in the server's own shape, or, with `body`, in exactly these bytes."""

    status: int
    message: str = "refused"
    type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    after_s: float = 0.0
    until: Callable[[], bool] | None = None
    """What is waited for before it is said."""


Turn = Reply | Refusal
Policy = Callable[[JsonObject], Turn]


class Script:
    """Chooses the turn for each request: from a list, in order, or by a policy that reads the body."""

    def __init__(self, turns: Sequence[Turn] | Policy) -> None:
        self._policy = turns if callable(turns) else None
        self._turns = [] if callable(turns) else list(turns)
        self._next = 0

    def turn(self, body: JsonObject) -> Turn | None:
        """The answer to that request; None when the list is used up."""
        if self._policy is not None:
            return self._policy(body)
        if self._next >= len(self._turns):
            return None
        self._next += 1
        return self._turns[self._next - 1]


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of one event of a stream and the place where it stands."""

    data: bytes
    place: Place


def pieces(text: str, count: int = 4) -> Iterator[str]:
    """Cut a text into at most `count` parts, never fewer than two for two characters and more."""
    step = max(1, -(-len(text) // count))
    for start in range(0, len(text), step):
        yield text[start : start + step]


async def play(
    frames: Sequence[Frame], turn: Reply, responder: Responder, error: Callable[[StreamError], bytes]
) -> None:
    """Write the frames with the pauses and the fault of the reply, then end the body. Raises Hangup on a cut."""
    struck = fault_index(frames, turn.fault)
    content = next((i for i, frame in enumerate(frames) if frame.place != "start"), len(frames))
    for index, frame in enumerate(frames):
        if index == content and (turn.silence_s or turn.until):
            await responder.pause(turn.silence_s or DEADLINE_S, turn.until)
        elif index and turn.gap_s:
            await responder.pause(turn.gap_s)
        if index == struck and isinstance(turn.fault, Cut):
            await responder.write(frame.data[: len(frame.data) // 2])
            raise Hangup
        await responder.write(frame.data)
        if index == struck and isinstance(turn.fault, Stall):
            await responder.pause(turn.fault.seconds, turn.fault.until)
        elif index == struck:
            if isinstance(turn.fault, StreamError):
                await responder.write(error(turn.fault))
            break
        if turn.endless and frame.place == "text" and frames[index + 1].place != "text":
            while True:
                await responder.pause(turn.gap_s or 0.005)
                await responder.write(frames[content + 1].data)
    await responder.end()


def fault_index(frames: Sequence[Frame], fault: Fault | None) -> int | None:
    """The frame at which the fault strikes: the middle one of its place; the first of the closing frames.

    Raises ValueError when the reply has no such place.
    """
    if fault is None:
        return None
    there = [i for i, frame in enumerate(frames) if frame.place == fault.at]
    if not there:
        raise ValueError(f"the reply has no frame at {fault.at!r} for the fault to strike")
    if fault.at in ("end", "last"):
        # A fault "at the end" leaves every content block complete and the closing frame unsent.
        return there[0] if isinstance(fault, Cut) else there[0] - 1
    return there[len(there) // 2]
