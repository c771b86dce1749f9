"""One recorded turn as an object: what was asked, what was answered, what is known of it, and the turn before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from anyclaude_lab.errors import InvalidRequest, SettingsError
from anyclaude_lab.lab.answers import Answer, read_answer
from anyclaude_lab.lab.rows import TraceRows
from anyclaude_lab.trace.read import Recorded, Trace
from anyclaude_lab.views.figures import plural, whole
from anyclaude_lab.views.turn import Exchange
from anyclaude_lab.wire.request import Request


@dataclass(frozen=True, eq=False)
class Turn:
    """One recorded exchange with what its trace's tables say about it. `facts` is its row of `Traces.turns`.

    `previous` is the turn before in the same lane, None for the first. `key` names the turn within a run.
    """

    key: str
    recorded: Recorded
    facts: dict[str, Any]
    previous: Turn | None = field(default=None, repr=False)

    @property
    def request(self) -> Request:
        """As it was asked. Raises InvalidRequest, or KeyError where the trace lacks a part of it."""
        return self.recorded.request()

    @cached_property
    def answer(self) -> Answer:
        """As it was answered: text, calls and their times."""
        return read_answer(self.recorded.pieces)

    def __repr__(self) -> str:
        facts = self.facts
        said = f"{whole(facts['prompt_tokens'])} prompt tokens, {plural(facts['n_tool_calls'], 'call')}"
        return f"<Turn {facts['turn']} of {facts['lane']}: {facts['role']}, {said}>"

    def _repr_html_(self) -> str:
        return self.view().html()

    def view(self) -> Exchange:
        """What a notebook shows of it."""
        try:
            request = self.request
        except (InvalidRequest, KeyError):
            request = None
        answer = self.answer
        calls = tuple((call.name, call.arguments) for call in answer.calls)
        return Exchange(self.facts, request, answer.text, answer.thinking, calls)


def turns_of(trace: Trace) -> Iterator[Turn]:
    """The turns of a trace in the order they were asked."""
    last: dict[str, Turn] = {}
    for number, (exchange, row) in enumerate(zip(trace.in_order(), TraceRows(trace).turns, strict=True)):
        turn = Turn(f"{trace.name}:{number}", exchange, row, last.get(exchange.lane))
        last[exchange.lane] = turn
        yield turn


def chosen(turns: Sequence[Turn], lane: str | None, turn: int) -> Turn:
    """The turn with that index in a lane, from 0, or from the end below 0. Raises SettingsError.

    `lane` is its name or the end of it; None is that of the first turn that is the client's main conversation.
    """
    lanes = list(dict.fromkeys(one.recorded.lane for one in turns))
    if lane is None:
        name = next((one.recorded.lane for one in turns if one.facts["role"] == "main"), lanes[0])
    else:
        found = [one for one in lanes if lane in (one, one.rpartition("/")[2])]
        if not found:
            raise SettingsError(f'"{lane}" is no lane of this session; there are: {", ".join(lanes)}.')
        name = found[0]
    mine = [one for one in turns if one.recorded.lane == name]
    if not -len(mine) <= turn < len(mine):
        raise SettingsError(f"The lane {name} has {plural(len(mine), 'turn')}, from 0; there is no turn {turn}.")
    return mine[turn]
