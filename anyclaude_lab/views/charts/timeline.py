"""A session over time: a line for each lane, its turns as bars of queue, prefill and decode, the cached share below.

Long stretches in which nothing runs (a person thinks, a tool works) are drawn short, and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from anyclaude_lab.views.charts.axes import place
from anyclaude_lab.views.figures import UNKNOWN, percent, plural, seconds, whole
from anyclaude_lab.views.html import Html, joined, tag
from anyclaude_lab.views.requests import Split

HEIGHT = 26
IDLE_S = 5.0
APART = 14.0  # percent between two labels of the axis, at least


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange. `start_s` counts from the session's beginning; None, and the parts of `split`: unknown."""

    id: str
    name: str
    start_s: float | None
    split: Split
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    error: str | None = None

    @property
    def end_s(self) -> float | None:
        """When its last content came; its start where nobody knows."""
        if self.start_s is None:
            return None
        return self.start_s + sum(
            part or 0.0 for part in (self.split.queue_s, self.split.prefill_s, self.split.decode_s)
        )

    def words(self) -> str:
        """What the bar says, as a sentence."""
        at = UNKNOWN if self.start_s is None else f"at {seconds(self.start_s)}"
        times = self.split.words() or "times unknown"
        share = percent(self.cached_tokens, self.prompt_tokens)
        cache = "cache unknown" if share == UNKNOWN else f"{share} of {whole(self.prompt_tokens)} prompt tokens cached"
        return f"{self.name}, {at}: {times}; {cache}" + (f"; {self.error}" if self.error else "")


@dataclass(frozen=True, slots=True)
class Lane:
    """One conversation of a session: the main one, a subagent's, a helper's."""

    name: str
    turns: Sequence[Turn]


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds to percent of the width. `stretches`: (start, end, seconds of the drawn axis before it), in order."""

    stretches: tuple[tuple[float, float, float], ...]
    length_s: float  # of the drawn axis

    def at(self, moment_s: float) -> float:
        """Where a moment is drawn; within a shortened stretch, at its end."""
        start, end, before = next(s for s in reversed(self.stretches) if s[0] <= moment_s or s is self.stretches[0])
        inside = min(max(0.0, moment_s - start), end - start)
        return 100 * (before + inside) / self.length_s

    def labels(self) -> list[tuple[float, float]]:
        """(where, moment) of the starts of stretches and the end, as many as have room."""
        moments = [start for start, _, _ in self.stretches] + [self.stretches[-1][1]]
        kept: list[tuple[float, float]] = []
        for moment_s in moments:
            if not kept or self.at(moment_s) - kept[-1][0] >= APART:
                kept.append((self.at(moment_s), moment_s))
        return kept


def clock(turns: Sequence[Turn], idle_s: float | None = IDLE_S) -> Clock | None:
    """The axis of these turns; where nothing runs for more than `idle_s`, so much of it is drawn. None: no times."""
    spans = sorted((t.start_s, t.end_s) for t in turns if t.start_s is not None and t.end_s is not None)
    if not spans:
        return None
    busy = [list(spans[0])]
    for start, end in spans[1:]:
        if idle_s is not None and start - busy[-1][1] > idle_s:
            busy.append([start, end])
        else:
            busy[-1][1] = max(busy[-1][1], end)
    stretches, before = [], 0.0
    for start, end in busy:
        stretches.append((start, end, before))
        before += end - start + (idle_s or 0.0)
    return Clock(tuple(stretches), max(before - (idle_s or 0.0), 1e-9))


def timeline(title: str, lanes: Sequence[Lane], *, idle_s: float | None = IDLE_S, chosen: str | None = None) -> Html:
    """The session. Each turn is an element with `data-turn`, its id; `chosen` is the one that is marked."""
    every = [turn for lane in lanes for turn in lane.turns]
    axis = clock(every, idle_s)
    caption = tag("figcaption", tag("b", title), tag("small", _what(axis)))
    if axis is None:
        return tag("figure", caption, tag("p", "No turn has a time.", class_="quiet"), class_="chart")
    rows = [_lane(lane, axis, chosen) for lane in lanes]
    return tag("figure", caption, *rows, _labels(axis), _key(), class_="chart timeline")


def _what(axis: Clock | None) -> str:
    if axis is None:
        return "seconds since the first request"
    skipped = [b[0] - a[1] for a, b in pairwise(axis.stretches)]
    said = f"; {plural(len(skipped), 'pause')} of {seconds(sum(skipped))} together drawn short" if skipped else ""
    return f"time since the first request{said}"


def _lane(lane: Lane, axis: Clock, chosen: str | None) -> Html:
    bars = [_turn(turn, axis, turn.id == chosen) for turn in lane.turns]
    pauses = [
        tag("line", x1=place(at), x2=place(at), y1=0, y2=HEIGHT, class_="pause")
        for at in (axis.at(start) for start, _, _ in axis.stretches[1:])
    ]
    label = f"{lane.name}: {plural(len(lane.turns), 'turn')}. " + " · ".join(turn.words() for turn in lane.turns)
    picture = tag("svg", *pauses, *bars, width="100%", height=HEIGHT, role="img", aria_label=label)
    untimed = sum(turn.start_s is None for turn in lane.turns)
    said = plural(len(lane.turns), "turn") + (f", {untimed} without a time" if untimed else "")
    return tag("div", tag("span", lane.name, class_="name"), tag("span", said, class_="said"), picture, class_="lane")


def _turn(turn: Turn, axis: Clock, chosen: bool) -> Html | None:
    if turn.start_s is None or turn.end_s is None:
        return None
    at, parts = turn.start_s, []
    split = turn.split
    before = "prefill" if split.queue_s is not None else "waited"
    for kind, length_s in (("queue", split.queue_s), (before, split.prefill_s), ("decode", split.decode_s)):
        if length_s:
            parts.append(_rect(axis, at, at + length_s, 0, 15, kind))
            at += length_s
    if not parts:
        where = place(axis.at(turn.start_s))
        parts.append(tag("line", x1=where, x2=where, y1=0, y2=15, class_="unknown"))
    whole_turn = _rect(axis, turn.start_s, turn.end_s, 0, 15, "frame")
    kinds = ["turn", *(["failed"] if turn.error else []), *(["chosen"] if chosen else [])]
    return tag("g", tag("title", turn.words()), *parts, whole_turn, _cached(turn, axis), data_turn=turn.id,
               class_=" ".join(kinds))  # fmt: skip


def _cached(turn: Turn, axis: Clock) -> Html | None:
    """How much of the prompt came from the cache, as a part of the turn's width; an empty frame where unknown."""
    start, end = turn.start_s, turn.end_s
    if start is None or end is None:
        return None
    if turn.cached_tokens is None or not turn.prompt_tokens:
        return _rect(axis, start, end, 18, 6, "unknown")
    left, width = axis.at(start), axis.at(end) - axis.at(start)
    share = min(1.0, turn.cached_tokens / turn.prompt_tokens)
    filled = tag("rect", x=place(left), y=18, width=place(width * share), height=6, class_="cached")
    return joined(_rect(axis, start, end, 18, 6, "track"), filled)


def _rect(axis: Clock, start: float, end: float, y: int, height: int, kind: str) -> Html:
    left = axis.at(start)
    return tag("rect", x=place(left), y=y, width=place(axis.at(end) - left), height=height, class_=kind)


def _labels(axis: Clock) -> Html:
    texts = [
        tag("text", seconds(moment_s) if moment_s else "0 s", x=place(at), y=11, text_anchor=_anchor(at))
        for at, moment_s in axis.labels()
    ]
    return tag("svg", *texts, class_="ticks", width="100%", height=14, aria_hidden="true")


def _anchor(at: float) -> str:
    return "start" if at < 5 else "end" if at > 95 else "middle"


def _key() -> Html:
    """What the colours are."""
    words = {
        "queue": "queue",
        "prefill": "prefill",
        "waited": "queue and prefill",
        "decode": "decode",
        "cached": "prompt from the cache",
    }
    marks = [
        tag(
            "span",
            tag("svg", tag("rect", width=10, height=10, class_=name), width=10, height=10, aria_hidden="true"),
            said,
        )
        for name, said in words.items()
    ]
    return tag("p", *marks, class_="key")
