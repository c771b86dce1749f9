"""What the live page shows, folded from the news of the live feed; each part of it is a piece of HTML by a name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

from anyclaude_lab.views import lanes, requests
from anyclaude_lab.views.bars import stacked
from anyclaude_lab.views.figures import UNKNOWN, clock, percent, plural, seconds, whole
from anyclaude_lab.views.html import Html, joined, tag
from anyclaude_lab.views.lanes import Lane
from anyclaude_lab.views.requests import Running
from anyclaude_lab.wire.events import JsonObject

ERRORS_SHOWN = 8
LANES_SHOWN = 40
TIMED = 100  # the median is that of so many requests


@dataclass(slots=True)
class Removed:
    """What one transform took out of the prompts seen. Tokens by the density of each prompt, where it is known."""

    requests: int = 0
    characters: int = 0
    tokens: float = 0.0


@dataclass(slots=True)
class Live:
    """The state of the page. `see` takes the news in order."""

    running: dict[str, Running] = field(default_factory=dict)
    lanes: dict[str, Lane] = field(default_factory=dict)  # the one used last at the end
    removed: dict[str, Removed] = field(default_factory=dict)
    errors: deque[JsonObject] = field(default_factory=lambda: deque(maxlen=ERRORS_SHOWN))
    over: int = 0
    failed: int = 0
    reported_tokens: int = 0
    cached_tokens: int = 0
    first_s: deque[float] = field(default_factory=lambda: deque(maxlen=TIMED))

    def see(self, item: JsonObject) -> set[str]:
        """Take in one item; the names of the parts that changed."""
        kind, name = item["kind"], str(item.get("id"))
        if kind == "started":
            self.running[name] = Running(item)
        elif kind in ("prefill", "answering"):
            self._goes_on(name, item)
        else:
            self.running.pop(name, None)
            return self._ended(item)
        return {"running", "figures"}

    def parts(self) -> Mapping[str, Callable[[], Html]]:
        """How each part is made."""
        return {
            "figures": self._figures,
            "running": self._running,
            "lanes": self._lanes,
            "removed": self._removed,
            "errors": self._errors,
        }

    def _goes_on(self, name: str, item: JsonObject) -> None:
        if known := self.running.get(name):
            state = str(item["kind"])
            self.running[name] = replace(
                known, state=state, done_tokens=item.get("done"), total_tokens=item.get("total")
            )

    def _ended(self, item: JsonObject) -> set[str]:
        changed = {"running", "figures"}
        self.over += 1
        if requests.failed_on(item):
            self.failed += 1
            self.errors.append(item)
            changed.add("errors")
        if item.get("ttft_s") is not None:
            self.first_s.append(item["ttft_s"])
        if item.get("cached_tokens") is not None and item.get("prompt_tokens"):
            self.reported_tokens += item["prompt_tokens"]
            self.cached_tokens += item["cached_tokens"]
        if item.get("lane") and item.get("model"):
            changed.add("lanes")
            self._lane(str(item["lane"])).see(item)
        if self._count_removed(item):
            changed.add("removed")
        return changed

    def _lane(self, name: str) -> Lane:
        lane = self.lanes.pop(name, None) or Lane(name)
        self.lanes[name] = lane
        if len(self.lanes) > LANES_SHOWN:
            self.lanes.pop(next(iter(self.lanes)))
        return lane

    def _count_removed(self, item: JsonObject) -> bool:
        removed: Mapping[str, int] = item.get("removed_characters") or {}
        prompt, sent = item.get("prompt_tokens") or item.get("estimated_prompt_tokens"), item.get("sent_characters")
        for name, characters in removed.items():
            known = self.removed.setdefault(name, Removed())
            known.requests += 1
            known.characters += characters
            known.tokens += characters * prompt / sent if prompt and sent else 0
        return bool(removed)

    def _figures(self) -> Html:
        shown = {
            "Running": whole(len(self.running)),
            "Answered": whole(self.over - self.failed),
            "Failed": whole(self.failed),
            "Prompt from cache": percent(self.cached_tokens, self.reported_tokens),
            "First token, median": seconds(median(self.first_s)) if self.first_s else UNKNOWN,
        }
        return joined(tag("div", tag("dt", name), tag("dd", value)) for name, value in shown.items())

    def _running(self) -> Html:
        if not self.running:
            return tag("li", "Nothing runs.", class_="quiet")
        return joined(one.card() for one in self.running.values())

    def _lanes(self) -> Html:
        if not self.lanes:
            return _empty_row("No conversation yet.", len(lanes.HEADINGS))
        return joined(lane.row() for lane in reversed(self.lanes.values()))

    def _removed(self) -> Html:
        if not self.removed:
            return tag("li", "Nothing was taken out yet.", class_="quiet")
        most = max(one.characters for one in self.removed.values())
        by_size = sorted(self.removed.items(), key=lambda item: -item[1].characters)
        return joined(_removed_line(name, one, most) for name, one in by_size)

    def _errors(self) -> Html:
        if not self.errors:
            return tag("li", "None.", class_="quiet")
        return joined(_error_line(item) for item in reversed(self.errors))


def _removed_line(name: str, removed: Removed, most: int) -> Html:
    tokens = f"~{whole(removed.tokens)} tokens" if removed.tokens else f"{whole(removed.characters)} characters"
    said = f"{tokens} in {plural(removed.requests, 'request')}"
    bar = stacked([("decode", removed.characters)], f"{name}: {said}", of=most)
    return tag("li", tag("b", name), tag("span", said, class_="n"), bar)


def _error_line(item: JsonObject) -> Html:
    hint = item.get("hint")
    return tag(
        "li",
        tag("p", clock(item.get("at")), tag("b", f" {item.get('status')} "), requests.failed_on(item)),
        tag("p", str(hint), class_="hint") if hint else None,
    )


def _empty_row(words: str, width: int) -> Html:
    return tag("tr", tag("td", words, class_="quiet empty", role="cell", colspan=width), role="row")
