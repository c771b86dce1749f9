"""`PrefixDiff`: two turns in rendered tokens, and where the second stops continuing the first."""

from __future__ import annotations

from anyclaude_lab.lab.trial import UNTOUCHED, pair
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.lab.variant import Variant, variant
from anyclaude_lab.views.html import Html
from anyclaude_lab.views.pair import Pair
from anyclaude_lab.widgets.shell import Pieces, Shell, dropdown

PROMPT_WORK = variant("prompt work", backend="embedded", tier="aggressive")  # what the proxy does unless told otherwise


class PrefixDiff(Shell):
    """The break between two turns: where, by what, how many tokens it costs and what would mend it.

    `pair` has the figures that are shown. `variant` is compared with the turns as they were recorded.
    """

    def __init__(self, first: Turn, second: Turn, *, variant: Variant = PROMPT_WORK) -> None:
        self.turns = first, second
        options = [("as recorded", UNTOUCHED), (f"after {variant.name}", variant)]
        self.sent = dropdown("Prompts", options, UNTOUCHED, self._changed)
        self.pieces = Pieces()
        super().__init__([self.sent], self.pieces)
        self._changed()

    def shown(self) -> Html:
        return self.pair.html()

    def said(self) -> str:
        told = self.pair
        where = f"breaks at token {told.shared_tokens:,}: {told.broken['cause']}" if told.broken else "continues"
        return f"{told.variant}; {where}; {told.lost_tokens:,} tokens lost"

    def _changed(self) -> None:
        self.pair: Pair = pair(*self.turns, self.sent.value)
        self.pieces.html = self.shown()
