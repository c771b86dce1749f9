"""The Messages dialect: lossless reading of a stream that is relayed or recorded.

Every byte that goes in comes out as the `raw` of some event. Bytes that are no event (comments, blank lines, broken
JSON, an unfinished rest) come out as events with the type `""`, which every judge and folder passes over.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestTooLarge,
    StreamCut,
    Unauthenticated,
)
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event, JsonObject, Usage
from anyclaude_lab.wire.json_text import loads
from anyclaude_lab.wire.repeated import RepeatedFrame, Run
from anyclaude_lab.wire.sse import SseItem, SseParser

NO_EVENT = ""  # the type of bytes that are relayed but mean nothing

BY_TYPE: dict[str, type[AnyclaudeError]] = {
    kind.type: kind
    for kind in (
        InvalidRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        RequestTooLarge,
        RateLimited,
        BackendFailed,
        BackendTimeout,
        BackendUnavailable,
    )
}


class AnthropicDecoder:
    """Incremental reader of a Messages stream; it adds nothing and drops nothing.

    A body that ends without `message_stop` or `error` is CUT. Past the frame cap the bytes still flow, unread.
    """

    def __init__(self) -> None:
        self.ending = Ending.OPEN
        self.usage = Usage()
        self.failure: AnyclaudeError | None = None
        self.progress: tuple[int, int] | None = None
        self._parser: SseParser | None = SseParser()
        self._counts: JsonObject = {}
        self._repeated = RepeatedFrame("text")
        self._last: JsonObject = {}  # the data of the text delta that `_repeated` has learned

    def feed(self, data: bytes, *, skim: bool = False) -> list[Event]:
        """The events that `data` completes; with `skim` without pieces of text that are like the one before."""
        events: list[Event] = []
        at, size = 0, len(data)
        while at < size:
            if self._parser is None:
                return [*events, _no_event(data[at:])]
            if self._parser.between_frames() and (run := self._repeated.read(data, at)) is not None:
                events += [] if skim else self._like_the_last(run, data, at)
                at = run.end
                continue
            end = data.find(b"\n\n", at) + 2
            frame = data[at : end if end > 1 else size]
            at += len(frame)
            events += self._parsed(self._parser, frame)
        return events

    def _parsed(self, parser: SseParser, data: bytes) -> list[Event]:
        try:
            return [self._event(item) for item in parser.feed(data)]
        except BackendFailed as error:
            self.failure = error
            rest = b"".join(item.raw for item in parser.close())
            self._parser = None
            return [_no_event(rest + data)]

    def _like_the_last(self, run: Run, data: bytes, at: int) -> list[Event]:
        """Events that differ from the text delta before them in the text alone."""
        last, delta = self._last, self._last["delta"]
        places = accumulate((run.around + len(inside) for inside in run.insides), initial=at)
        return [
            Event("content_block_delta", {**last, "delta": {**delta, "text": text}}, data[start:end])
            for text, (start, end) in zip(run.texts, pairwise(places), strict=True)
        ]

    def close(self) -> list[Event]:
        """The unfinished rest, if any; the ending is final."""
        events = [self._event(item) for item in self._parser.close()] if self._parser is not None else []
        self._parser = None
        if self.ending is Ending.OPEN:
            self.ending = Ending.CUT
            self.failure = self.failure or StreamCut("The stream from the backend ended before message_stop.")
        return events

    def _event(self, item: SseItem) -> Event:
        if not item.data or not item.complete:
            return _no_event(item.raw)
        try:
            data = loads(item.data)
        except ValueError:
            return _no_event(item.raw)
        kind = item.event or (data.get("type") if isinstance(data, dict) else None)
        if not isinstance(data, dict) or not isinstance(kind, str):
            return _no_event(item.raw)
        if kind == "content_block_delta" and isinstance(delta := data.get("delta"), dict):
            if isinstance(text := delta.get("text"), str) and self._repeated.learn(item.raw, text):
                self._last = data
        elif self.ending is Ending.OPEN:
            self._read(kind, data)
        return Event(kind, data, item.raw)

    def _read(self, kind: str, data: JsonObject) -> None:
        if kind == "message_start":
            message = data.get("message")
            self._take_counts(message.get("usage") if isinstance(message, dict) else None)
        elif kind == "message_delta":
            self._take_counts(data.get("usage"))
        elif kind == "message_stop":
            self.ending = Ending.COMPLETE
        elif kind == "error":
            self.ending = Ending.ERROR
            self.failure = error_from(data)

    def _take_counts(self, counts: Any) -> None:
        """Totals replace earlier ones; one that is left out or null stays."""
        if isinstance(counts, dict):
            self._counts |= {name: count for name, count in counts.items() if count is not None}
            self.usage = usage_of(self._counts)


def usage_of(counts: JsonObject) -> Usage:
    """Anthropic's counters, which never overlap, as `Usage`: prompt = input + cache creation + cache read."""
    fresh, created, cached, output = (
        value if isinstance(value := counts.get(name), int) else None
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    )
    prompt = None if fresh is None else fresh + (created or 0) + (cached or 0)
    return Usage(prompt, cached, output)


def error_from(body: JsonObject) -> AnyclaudeError:
    """The error of the tree that an error envelope names; an unknown type is a `BackendFailed`."""
    inner = body.get("error")
    inner = inner if isinstance(inner, dict) else {}
    kind = BY_TYPE.get(str(inner.get("type")), BackendFailed)
    return kind(str(inner.get("message") or "The backend reported an error without saying which."))


def _no_event(raw: bytes) -> Event:
    return Event(NO_EVENT, {}, raw)
