"""Two turns in rendered tokens: how far the second continues the first, and what stands where it stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude_lab.views.bars import stacked
from anyclaude_lab.views.figures import UNKNOWN, percent, whole
from anyclaude_lab.views.html import Child, Html, joined, tag
from anyclaude_lab.views.notebook import card, legend, note, pairs, part
from anyclaude_lab.wire.events import JsonObject


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens around the break as texts; `at` is the index of the first that differs, or how many there are."""

    tokens: Sequence[str]
    at: int


@dataclass(frozen=True, slots=True)
class Pair:
    """`broken` has the facts of a break, None where the second prompt continues the first. Sizes are rendered tokens.

    `shared_tokens` are those that both begin with; `before` and `after` show where they part.
    """

    first: str
    second: str
    variant: str
    tokenizer: str
    first_tokens: int
    second_tokens: int
    shared_tokens: int
    broken: JsonObject | None
    before: Window
    after: Window

    @property
    def lost_tokens(self) -> int:
        """Tokens of the first prompt that the second does not reuse; 0 where it continues it."""
        return int(self.broken["tokens_lost"]) if self.broken else 0

    def html(self) -> Html:
        """The card."""
        lost = self.lost_tokens
        title = (
            f"The prefix breaks at token {whole(self.shared_tokens)}: {self.broken['cause']}"
            if self.broken
            else f"The prompt continues: {whole(self.shared_tokens)} tokens can be reused"
        )
        new = self.second_tokens - self.shared_tokens - lost
        sizes = [(("reused", self.shared_tokens), f"{whole(self.shared_tokens)} reused")]
        sizes += [(("broke", lost), f"{whole(lost)} lost")] if lost else []
        sizes += [(("whole", max(0, new)), f"{whole(max(0, new))} new")]
        bar = stacked([one for one, _ in sizes], ", ".join(words for _, words in sizes) + " tokens")
        return card(
            title, self._names(), tag("div", bar, class_="over"), legend(sizes), pairs(self._figures()),
            *self._texts(), aside=f"{self.variant}; {self.tokenizer}",
        )  # fmt: skip

    def _names(self) -> Html:
        return note(f"{self.first} → {self.second}")

    def _figures(self) -> list[tuple[str, Child]]:
        reused = f"{whole(self.shared_tokens)} ({percent(self.shared_tokens, self.second_tokens)})"
        known: list[tuple[str, Child]] = [
            ("First prompt", whole(self.first_tokens)),
            ("Second prompt", whole(self.second_tokens)),
            ("Reused", reused),
        ]
        if self.broken is None:
            return known
        ours = self.broken.get("transform_blamed")
        return [
            *known,
            ("Tokens lost", tag("b", whole(self.lost_tokens), class_="problem")),
            ("Mended, they are", f"{whole(self.broken.get('fixed_tokens'))} fewer"),
            ("Cause", str(self.broken["cause"])),
            ("Where", tag("code", str(self.broken["pointer"]))),
            ("Blamed", f"our step {ours}" if ours else "came that way"),
        ]

    def _texts(self) -> Sequence[Html]:
        if self.broken is None:
            return (part("Where the second prompt goes on"), _tokens(self.after, "Tokens of the second prompt", "new"))
        return (
            tag("p", "What mends it: ", tag("b", str(self.broken.get("fixed_by") or UNKNOWN))),
            part("First prompt, around the break"),
            _tokens(self.before, "Tokens of the first prompt", "apart"),
            part("Second prompt"),
            _tokens(self.after, "Tokens of the second prompt", "apart"),
        )


def _tokens(window: Window, label: str, apart: str) -> Html:
    """Tokens side by side; `apart` is the class of those that are not shared, the first of which is marked."""
    shown = []
    for number, token in enumerate(window.tokens):
        first = number == window.at and apart == "apart"
        shown.append(tag("mark" if first else "span", token, class_="shared" if number < window.at else apart))
    return tag("pre", joined(shown), class_="tokens", tabindex=0, role="region", aria_label=label)
