"""A proxy that is watched from a notebook: what runs, conversations and their cache, the last requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from anyclaude_lab.views import lanes, requests
from anyclaude_lab.views.html import Child, Html, tag
from anyclaude_lab.views.live import Live
from anyclaude_lab.views.notebook import card, note, part, scrolled
from anyclaude_lab.views.page import badge
from anyclaude_lab.wire.events import JsonObject

REQUESTS_SHOWN = 30
_NUMBERS = {"Requests", "Reused", "Prompt now", "Prompt", "Output", "Total"}


@dataclass(slots=True)
class Watch:
    """`see` takes the items of `GET /v1/live` in order. `url` is None while no proxy runs."""

    url: str | None = None
    start_line: str | None = None
    problem: str | None = None
    live: Live = field(default_factory=Live)
    over: deque[JsonObject] = field(default_factory=lambda: deque(maxlen=REQUESTS_SHOWN))

    def see(self, item: JsonObject) -> None:
        """Take in one item."""
        self.live.see(item)
        if item.get("serial") is not None:
            self.over.appendleft(item)

    def html(self) -> Html:
        """The card."""
        shown = badge("good", "running") if self.url is not None else badge("", "not running")
        head = (
            tag("p", shown, " ", self.url, class_="where"),
            tag("p", self.problem, class_="problem") if self.problem else None,
        )
        if self.url is None and not self.live.over:
            return card("Proxy", *head, note("Start it: what clients ask of it is shown here."))
        return card("Proxy", *head, *self._pieces())

    def _pieces(self) -> Sequence[Child]:
        parts = self.live.parts()
        return (
            tag("code", self.start_line, class_="line") if self.start_line else None,
            tag("dl", parts["figures"](), class_="figures"),
            part("Now"),
            tag("ul", parts["running"](), class_="running"),
            part("Conversations"),
            _table(lanes.HEADINGS, parts["lanes"](), "Conversations"),
            part("Requests, latest first"),
            _table(requests.HEADINGS, [requests.row(item) for item in self.over], "Requests")
            if self.over
            else note("none yet"),
            part("Errors"),
            tag("ul", parts["errors"](), class_="plain"),
        )

    def words(self) -> str:
        """The same in a line."""
        where = self.url or "not running"
        return f"{where}; {self.live.over - self.live.failed} answered, {self.live.failed} failed"


def _table(headings: tuple[str, ...], rows: Child, label: str) -> Html:
    heads = [
        tag("th", name, scope="col", role="columnheader", class_="n" if name in _NUMBERS else None) for name in headings
    ]
    head = tag("thead", tag("tr", *heads, role="row"), role="rowgroup")
    return scrolled(tag("table", head, tag("tbody", rows, role="rowgroup"), role="table", aria_label=label), label)
