"""Requests as they run and when they are over: one line each, made of the facts that the live feed tells.

Facts are the JSON objects of `GET /v1/live` (docs/observability.md); what they lack is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude_lab.views.bars import Part, stacked
from anyclaude_lab.views.figures import UNKNOWN, clock, percent, plural, seconds, whole
from anyclaude_lab.views.html import Child, Html, joined, tag
from anyclaude_lab.wire.events import JsonObject

HEADINGS = ("Time", "Lane", "Outcome", "Prompt", "Reused", "Output", "Time to first token", "Total")


@dataclass(frozen=True, slots=True)
class Split:
    """Where the seconds of a request went. `queue_s` is None where the backend does not say when it began."""

    queue_s: float | None
    prefill_s: float | None
    decode_s: float | None

    @classmethod
    def of(cls, facts: JsonObject) -> Split:
        """To the first report of prefill, to the first content, to the end."""
        queue_s, first_s, total_s = (facts.get(name) for name in ("queue_s", "ttft_s", "total_s"))
        if first_s is None:
            return cls(queue_s, None, None)
        return cls(queue_s, first_s - (queue_s or 0.0), None if total_s is None else max(0.0, total_s - first_s))

    def words(self) -> str:
        """`queue 0.10 s, prefill 1.20 s, decode 3.00 s`."""
        before = "prefill" if self.queue_s is not None else "queue and prefill"
        said = [("queue", self.queue_s), (before, self.prefill_s), ("decode", self.decode_s)]
        return ", ".join(f"{name} {seconds(value_s)}" for name, value_s in said if value_s is not None)

    def bar(self) -> Html | None:
        """The same as a bar; None where no part is known."""
        before = "prefill" if self.queue_s is not None else "waited"
        sizes: list[Part] = [("queue", self.queue_s or 0.0), (before, self.prefill_s or 0.0)]
        sizes.append(("decode", self.decode_s or 0.0))
        return stacked(sizes, self.words()) if any(size for _, size in sizes) else None


def lane_label(facts: JsonObject) -> str:
    """What the client calls the one who asks; `main` where it names nobody."""
    return str(facts.get("agent") or facts.get("class") or "main") if facts.get("lane") else UNKNOWN


def row(facts: JsonObject) -> Html:
    """A request that is over, as a row of the table of `HEADINGS`."""
    failed, begun = failed_on(facts), facts.get("ttft_s") is not None
    cells = [
        _cell("when", clock(facts.get("at"))),
        _cell("lane", *_who(facts)),
        _cell("outcome", *_outcome(facts)),
        _cell("n prompt", _count(facts)),
        _cell("n reused", _reused(facts)),
        _cell("n output", _measure(whole(facts.get("output_tokens")), "output tokens")),
        _cell("split", *_split(facts)),
        _cell("n total", seconds(facts.get("total_s"))),
    ]
    return tag("tr", *cells, id=f"r-{facts.get('id')}", role="row", class_=_kind(bool(failed), begun))


def _kind(failed: bool, begun: bool) -> str | None:
    """`bare` has nothing but its error to show."""
    return ("bad" if begun else "bad bare") if failed else None


def failed_on(facts: JsonObject) -> str | None:
    """What went wrong, in words; None where nothing did."""
    if facts.get("error"):
        return str(facts["error"])
    status = facts.get("status") or 200
    return f"HTTP {status}" if status >= 400 and status != 499 else None


@dataclass(frozen=True, slots=True)
class Running:
    """A request on its way: `asked` of the backend, in `prefill`, or `answering`."""

    facts: JsonObject
    state: str = "asked"
    done_tokens: int | None = None
    total_tokens: int | None = None

    def card(self) -> Html:
        """The request with its progress; a page counts the seconds from `data-since` on."""
        words = {"asked": "waiting for the backend", "prefill": "prefill", "answering": "answering"}[self.state]
        since = tag("span", UNKNOWN, data_since=self.facts.get("at"), class_="since")
        return tag(
            "li",
            tag("span", words, class_=f"state {self.state}"),
            tag("span", *_who(self.facts), class_="who"),
            tag("span", self.facts.get("model"), class_="model"),
            self._progress(),
            since,
            id=f"l-{self.facts.get('id')}",
        )

    def _progress(self) -> Html:
        if self.state == "prefill" and self.total_tokens:
            said = f"{whole(self.done_tokens)} of {whole(self.total_tokens)} tokens"
            bar = stacked([("prefill", float(self.done_tokens or 0))], f"prefill: {said}", of=float(self.total_tokens))
            return tag("span", bar, tag("span", said, class_="n"), class_="progress")
        estimate = self.facts.get("estimated_prompt_tokens")
        return tag("span", f"about {whole(estimate)} tokens" if estimate else None, class_="progress quiet")


def _who(facts: JsonObject) -> tuple[Child, ...]:
    session = facts.get("session")
    return (tag("b", lane_label(facts)), tag("small", session) if session else None)


def _outcome(facts: JsonObject) -> tuple[Child, ...]:
    if failure := failed_on(facts):
        return (tag("b", f"{facts.get('status') or ''} "), failure)
    if facts.get("kind") == "searched":
        return (tag("b", "web search"), tag("small", f"{plural(facts['pages'], 'page')} from {facts.get('backend')}"))
    ended = "client left" if facts.get("status") == 499 else facts.get("stop_reason") or facts.get("ending")
    about = " ".join(facts.get("tools") or ()) or (None if facts.get("model") else facts.get("path"))
    return (tag("b", str(ended or UNKNOWN)), tag("small", about) if about else None)


def _count(facts: JsonObject) -> Html | str:
    if facts.get("prompt_tokens") is None and facts.get("estimated_prompt_tokens") is not None:
        return _measure(f"~{whole(facts['estimated_prompt_tokens'])}", "prompt tokens, estimated")
    return _measure(whole(facts.get("prompt_tokens")), "prompt tokens")


def _reused(facts: JsonObject) -> Html | str:
    cached, prompt = facts.get("cached_tokens"), facts.get("prompt_tokens")
    if cached is None or not prompt:
        return UNKNOWN
    return tag("span", percent(cached, prompt), title=f"{whole(cached)} of {whole(prompt)} tokens from the cache")


def _split(facts: JsonObject) -> tuple[Child, ...]:
    split = Split.of(facts)
    bar = split.bar()
    if bar is None:
        return (UNKNOWN,)
    first = tag("span", seconds(facts.get("ttft_s")), class_="n")
    return (first, bar, tag("small", split.words()))


def _measure(text: str, what: str) -> Html | str:
    return text if text == UNKNOWN else joined(tag("span", text, title=what))


def _cell(name: str, *children: Child) -> Html:
    return tag("td", *children, class_=name, role="cell")
