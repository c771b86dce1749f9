"""Conversations: how much of each prompt came from the backend's cache, and what kept the rest out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from anyclaude_lab.views.bars import columns
from anyclaude_lab.views.figures import UNKNOWN, percent, plural, whole
from anyclaude_lab.views.html import Html, tag
from anyclaude_lab.views.requests import lane_label
from anyclaude_lab.wire.events import JsonObject

HEADINGS = ("Lane", "Requests", "Reuse, latest right", "Reused", "Prompt now", "What broke it last")
HISTORY = 24
# Caches work in blocks of up to 256 tokens, and templates write the end of a prompt anew.
SLACK_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Break:
    """A request that could not reuse what the one before it in its lane had left in the cache. Sizes in tokens."""

    number: int
    kept: int
    could_keep: int
    why: str | None  # what changed in the prompt; None: it only grew

    def words(self) -> str:
        """One sentence: where, why, what it cost."""
        why = self.why or "the prompt only grew; the backend had dropped it"
        kept = f"kept {whole(self.kept)} of {whole(self.could_keep)} tokens"
        return f"request {self.number}: {why}; {kept}, {whole(self.could_keep - self.kept)} computed anew"


@dataclass(slots=True)
class Lane:
    """One conversation, folded from its finished requests in order."""

    name: str
    facts: JsonObject = field(default_factory=dict)  # of the latest request
    requests: int = 0
    reported_tokens: int = 0  # prompt tokens of requests whose reuse was reported
    cached_tokens: int = 0
    prompt_tokens: int | None = None  # of the latest
    shares: list[tuple[str, float | None]] = field(default_factory=list)
    broken: Break | None = None

    def see(self, facts: JsonObject) -> None:
        """Take in one finished request."""
        self.requests += 1
        self.facts = facts
        prompt, cached = facts.get("prompt_tokens"), facts.get("cached_tokens")
        if prompt is None:
            return
        broken = None
        if cached is not None:
            broken = self._break(prompt, cached, facts.get("prefix_change"))
            self.reported_tokens += prompt
            self.cached_tokens += cached
        share = cached / prompt if cached is not None and prompt else None
        self.shares = [*self.shares, ("broke" if broken else "reused", share)][-HISTORY:]
        self.broken = broken or self.broken
        self.prompt_tokens = prompt

    def row(self) -> Html:
        """A row of the table of `HEADINGS`."""
        reused = percent(self.cached_tokens, self.reported_tokens)
        label = f"share of each prompt that came from the cache, {plural(len(self.shares), 'request')}; {reused} of all"
        session = self.facts.get("session")
        who = (tag("b", lane_label(self.facts)), tag("small", session or self.name))
        return tag(
            "tr",
            tag("th", *who, scope="row", role="rowheader", class_="lane"),
            _cell("n requests", whole(self.requests)),
            _cell("shares", columns(self.shares, label, HISTORY)),
            _cell("n reused", reused),
            _cell("n prompt", whole(self.prompt_tokens)),
            _cell("why", self._why()),
            role="row",
        )

    def _break(self, prompt: int, cached: int, why: str | None) -> Break | None:
        could_keep = min(self.prompt_tokens or 0, prompt)
        if could_keep - cached <= SLACK_TOKENS:
            return None
        return Break(self.requests, cached, could_keep, why)

    def _why(self) -> str | Html:
        if self.broken is not None:
            return self.broken.words()
        if self.prompt_tokens is not None and not self.reported_tokens:
            return tag("span", "the backend does not report its cache", class_="quiet")
        return tag("span", "nothing" if self.requests > 1 else UNKNOWN, class_="quiet")


def _cell(name: str, *children: str | Html) -> Html:
    return tag("td", *children, class_=name, role="cell")
