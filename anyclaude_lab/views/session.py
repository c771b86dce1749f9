"""A recorded session: its lanes over time, its turns one by one, and the exchange that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude_lab.views.bars import stacked
from anyclaude_lab.views.charts import Lane, Turn, timeline
from anyclaude_lab.views.figures import UNKNOWN, percent, plural, seconds, whole
from anyclaude_lab.views.html import Child, Html, joined, tag
from anyclaude_lab.views.notebook import ROWS_SHOWN, Heading, card, part, table
from anyclaude_lab.views.requests import Split
from anyclaude_lab.views.turn import Exchange
from anyclaude_lab.wire.events import JsonObject

HEADINGS: tuple[Heading, ...] = (
    ("Turn", None), ("Lane", None), ("Tools called", None), ("Prompt tokens", "n"), ("From cache", "n"), ("", "bar"),
    ("Output", "n"), ("To first token", "n"), ("In all", "n"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Session:
    """`turns` are rows of the table of turns with `tools`, the names called, in the order they were asked."""

    name: str
    turns: Sequence[JsonObject]
    chosen: int = 0

    def html(self, *, live: bool) -> Html:
        """Timeline and turns. `live`: turns can be chosen, by an element with `data-turn`, the place of one."""
        told = f"{plural(len(self.turns), 'turn')}, {plural(len(self.lanes()), 'lane')}"
        rows = [self._row(number, live) for number, _ in self._near()]
        return card(
            f"Session {self.name}",
            timeline("Time", self._drawn(), chosen=str(self.chosen)),
            tag("div", table(HEADINGS, rows, "Turns"), class_="list"),
            aside=told,
        )

    def lanes(self) -> dict[str, str]:
        """A name for each lane that tells it from the others: whose it is, with a number where that is not enough."""
        roles: dict[str, str] = {}
        for turn in self.turns:
            roles.setdefault(str(turn["lane"]), str(turn.get("role") or "lane"))
        named, seen = dict[str, str](), dict[str, int]()
        for lane, role in roles.items():
            seen[role] = seen.get(role, 0) + 1
            alone = list(roles.values()).count(role) == 1
            named[lane] = role if alone else f"{role} {seen[role]}"
        return named

    def _near(self) -> list[tuple[int, JsonObject]]:
        """The turns that are listed: all, or those around the chosen one."""
        start = max(0, min(self.chosen - ROWS_SHOWN // 2, len(self.turns) - ROWS_SHOWN))
        return list(enumerate(self.turns))[start : start + ROWS_SHOWN]

    def _drawn(self) -> list[Lane]:
        begun = min((turn["started_s"] for turn in self.turns), default=0.0)
        lanes = self.lanes()
        drawn: dict[str, list[Turn]] = {name: [] for name in lanes.values()}
        for number, turn in enumerate(self.turns):
            split = Split.of({"ttft_s": turn.get("ttft_s"), "total_s": turn.get("e2e_s")})
            sizes = turn.get("prompt_tokens"), turn.get("prompt_tokens_cached")
            one = Turn(str(number), f"turn {turn['turn']}", turn["started_s"] - begun, split, *sizes, turn.get("error"))
            drawn[lanes[str(turn["lane"])]].append(one)
        return [Lane(name, turns) for name, turns in drawn.items()]

    def _row(self, number: int, live: bool) -> Sequence[Child]:
        turn = self.turns[number]
        prompt, cached = turn.get("prompt_tokens"), turn.get("prompt_tokens_cached")
        share = percent(cached, prompt)
        bar = None
        if cached is not None and prompt:
            bar = stacked([("cached", cached)], f"{share} of the prompt from the cache", of=prompt)
        status = turn.get("status")
        failed = tag("b", f" {status}", class_="problem") if status is not None and status >= 400 else None
        return (
            joined(self._name(number, live), failed),
            self.lanes()[str(turn["lane"])],
            ", ".join(turn.get("tools") or ()) or UNKNOWN,
            whole(prompt),
            share,
            bar,
            whole(turn.get("output_tokens")),
            seconds(turn.get("ttft_s")),
            seconds(turn.get("e2e_s")),
        )

    def _name(self, number: int, live: bool) -> Html:
        turn, here = self.turns[number], number == self.chosen
        if not live:
            return tag("b" if here else "span", str(turn["turn"]))
        said = f"turn {turn['turn']} of {self.lanes()[str(turn['lane'])]}"
        return tag(
            "button", str(turn["turn"]), type="button", data_turn=str(number), aria_label=f"Show {said}",
            aria_pressed="true" if here else "false",
        )  # fmt: skip


def session_view(session: Session, exchange: Exchange | None) -> Html:
    """Both without a way to choose."""
    return joined(session.html(live=False), exchange.html() if exchange else part("no turn"))
