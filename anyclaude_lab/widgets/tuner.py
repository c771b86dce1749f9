"""`TierTuner`: what tier, tool texts, adapter and stabiliser make of one recorded turn."""

from __future__ import annotations

import asyncio
from typing import Any

from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.lab.frames import CATEGORIES
from anyclaude_lab.lab.replay import replay
from anyclaude_lab.lab.trial import trial
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.lab.variant import Variant, variant
from anyclaude_lab.views.figures import whole
from anyclaude_lab.views.html import Html
from anyclaude_lab.views.trial import Trial
from anyclaude_lab.widgets.shell import Pieces, Shell, button, checkbox, dropdown


class TierTuner(Shell):
    """Knobs on a recorded turn: its size, sections and rendered prompt, and on a button a real replay.

    `trial` has the figures that are shown; `replayed` the cell of the last replay with these knobs, None before one.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        tier: str = "aggressive",
        stub_tools: bool = False,
        adapter: str = "none",
        stabilise: bool = True,
    ) -> None:
        self.turn = turn
        self.replayed: dict[str, Any] | None = None
        self.tier = dropdown("Tier", list(CATEGORIES["tier"]), tier, self._changed)
        self.adapter = dropdown("Adapter", list(CATEGORIES["adapter"]), adapter, self._changed)
        self.stub_tools = checkbox("Tools in a line each", stub_tools, self._changed)
        self.stabilise = checkbox("Session's own text behind the head", stabilise, self._changed)
        self.button = button("Replay", self._clicked)
        self.pieces = Pieces()
        super().__init__([self.tier, self.adapter, self.stub_tools, self.stabilise, self.button], self.pieces)
        self._changed()

    @property
    def variant(self) -> Variant:
        """What the knobs say, to be replayed over whole traces: `lab.replay(traces, [tuner.variant])`."""
        name = ", ".join(
            [
                f"tier {self.tier.value}",
                *(["stubs"] if self.stub_tools.value else []),
                *([f"adapter {self.adapter.value}"] if self.adapter.value != "none" else []),
                *([] if self.stabilise.value else ["not stabilised"]),
            ]
        )
        return variant(
            name,
            backend="embedded",
            tier=self.tier.value,
            adapter=self.adapter.value,
            stub_tools=self.stub_tools.value,
            stabilise=self.stabilise.value,
        )

    def replay(self) -> dict[str, Any]:
        """Ask the turn before and then this one on the demonstration model; the cell of this one."""
        asked = [one for one in (self.turn.previous, self.turn) if one is not None]
        try:
            cells = replay(asked, [self.variant], progress=False).cells
        except AnyclaudeError as failure:
            return {"error": failure.message}
        return dict(cells[-1])

    def shown(self) -> Html:
        return self.trial.html(self.replayed)

    def said(self) -> str:
        return f"{self.trial.variant}; {whole(self.trial.plain_tokens)} -> {whole(self.trial.prompt_tokens)} tokens"

    def _changed(self) -> None:
        self.trial: Trial = trial(self.turn, self.variant)
        self._show(None)

    def _show(self, replayed: dict[str, Any] | None) -> None:
        self.replayed = replayed
        self.pieces.html = self.shown()

    def _clicked(self) -> None:
        """In a thread, so that the notebook goes on; without its event loop, here and now."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._show(self.replay())
            return
        self._task = loop.create_task(self._replay_aside())

    async def _replay_aside(self) -> None:
        wanted = self.variant
        self._busy(True)
        try:
            cell = await asyncio.to_thread(self.replay)
        finally:
            self._busy(False)
        if self.variant == wanted:
            self._show(cell)

    def _busy(self, running: bool) -> None:
        self.button.disabled = running
        self.button.description = "Replaying…" if running else "Replay"
