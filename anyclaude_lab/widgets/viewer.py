"""`TraceViewer`: the sessions of traces over time, and the exchange that is chosen."""

from __future__ import annotations

from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.views.html import Html
from anyclaude_lab.views.session import Session, session_view
from anyclaude_lab.widgets.shell import Pieces, Shell, dropdown


class TraceViewer(Shell):
    """A session's timeline and turns; a click, or Enter on a turn's number, shows its exchange.

    `turn` is the chosen one, `session` the knob. Raises SettingsError for a session that is not there.
    """

    def __init__(self, traces: Traces, session: str | None = None) -> None:
        self.traces = traces
        names = list(traces.sessions["session"])
        files = [str(file).rpartition("/")[2].partition(".")[0] for file in traces.sessions["file"]]
        first = traces.session_turns(session)[0].recorded.session if session is not None else names[0]
        labels = [(f"{file} {name[:8]}", name) for file, name in zip(files, names, strict=True)]
        self.session = dropdown("Session", labels, first, self._open)
        self.overview, self.exchange = Pieces(), Pieces()
        self.overview.observe(lambda change: self._clicked(change["new"]), names="chosen")
        super().__init__([self.session], self.overview, self.exchange)
        self._open()

    @property
    def turn(self) -> Turn:
        """The turn whose exchange is shown."""
        return self.turns[self.chosen]

    def choose(self, number: int) -> None:
        """Show the exchange of the turn with that place in the session; one that is not there changes nothing."""
        if 0 <= number < len(self.turns):
            self.chosen = number
            self.overview.html = self._view().html(live=True)
            self.exchange.html = self.turn.view().html()

    def shown(self) -> Html:
        return session_view(self._view(), self.turn.view())

    def said(self) -> str:
        return f"session {self.session.value}, {len(self.turns)} turns, turn {self.turn.facts['turn']} chosen"

    def _clicked(self, place: str) -> None:
        if place.isdecimal():
            self.choose(int(place))

    def _open(self) -> None:
        self.turns = self.traces.session_turns(self.session.value)
        self._called = [[call.name for call in turn.answer.calls] for turn in self.turns]
        self.choose(0)

    def _view(self) -> Session:
        rows = [turn.facts | {"tools": called} for turn, called in zip(self.turns, self._called, strict=True)]
        return Session(self.session.value, rows, self.chosen)
