"""`lab.load(path)`: traces as tables.

Sessions, turns, tools and calls are made when the traces are loaded, which keeps no body and no answer in memory.
Blocks and events are made when they are first asked for, and read the files again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.frames import frame, records
from anyclaude_lab.lab.rows import Row, TraceRows, block_rows, event_rows
from anyclaude_lab.lab.turn import Turn, chosen, turns_of
from anyclaude_lab.trace.files import DamagedTrace, Source, sources
from anyclaude_lab.trace.read import Trace, read_trace
from anyclaude_lab.views.figures import plural
from anyclaude_lab.views.sessions import sessions_view

SESSIONS_NAMED = 12


class Traces:
    """Recorded sessions. `complaints` has a sentence for everything that was left out."""

    def __init__(self, found: Sequence[Source], complaints: Sequence[str] = ()) -> None:
        self.sources: list[Source] = []
        self.complaints = list(complaints)
        sessions: list[Row] = []
        turns: list[Row] = []
        calls: list[Row] = []
        tools: list[Row] = []
        for source in found:
            try:
                trace = read_trace(source, verify=False)
                rows = TraceRows(trace)
            except DamagedTrace as damage:
                self.complaints.append(damage.message)
                continue
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                self.complaints.append(f"{source.name}: {error!r}; the file is left out, see anyclaude-bench verify.")
                continue
            self.complaints += trace.complaints
            self.sources.append(source)
            self.complaints += _undefined(rows, trace.name)
            sessions += rows.sessions()
            turns += rows.turns
            calls += rows.calls
            tools += rows.tools.values()
        self.sessions = frame(sessions)
        self.turns = frame(turns)
        self.tool_calls = frame(calls, ("session", "lane", "turn", "request_id", "call", "tool", "arguments", "parsed"))
        self.tools = frame(tools, ("session", "tool", "definition", "n_turns"))

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """System blocks, tool definitions and messages, each once for a session. Reads the files again."""
        return frame(row for trace in self.traces() for row in block_rows(trace))

    @cached_property
    def events(self) -> pd.DataFrame:
        """The events of all answers. Reads the files again; about 1 KB of memory for an event."""
        return frame(row for trace in self.traces() for row in event_rows(trace))

    def traces(self, *, verify: bool = False) -> Iterator[Trace]:
        """The files, read again one after the other."""
        for source in self.sources:
            yield read_trace(source, verify=verify)

    def turn(self, session: str, *, lane: str | None = None, turn: int = 0) -> Turn:
        """One turn, read again from its file. Raises SettingsError where there is none, or more than one session.

        `session` is an id, the beginning of one, or the name of a file as `short-fix`. `lane` is a lane's name or what
        stands behind its slash, the main conversation without one; `turn` counts from 0, or from the end below 0.
        """
        return chosen(self.session_turns(session), lane, turn)

    def session_turns(self, session: str) -> list[Turn]:
        """All turns of a session in the order they were asked, read again from its file; `session` as for `turn`."""
        name, source = self._session(session)
        return [one for one in turns_of(read_trace(source, verify=False)) if one.recorded.session == name]

    def _session(self, wanted: str) -> tuple[str, Source]:
        """The id of a session and where it stands."""
        rows = list(zip(self.sessions["session"], self.sessions["file"], strict=True))
        found = [row for row in rows if row[0] == wanted] or [
            (name, file) for name, file in rows if wanted and (name.startswith(wanted) or _stem(file) == _stem(wanted))
        ]
        if len(found) != 1:
            known = ", ".join(f"{name} ({_stem(file)})" for name, file in (found or rows)[:SESSIONS_NAMED])
            problem = f"names {plural(len(found), 'session')}" if found else "is no session of these traces"
            raise SettingsError(f'"{wanted}" {problem}; there are: {known}.')
        name, file = found[0]
        return name, next(source for source in self.sources if source.name == file)

    def __len__(self) -> int:
        return len(self.sessions)

    def __repr__(self) -> str:
        return f"<Traces: {self._said()}>"

    def _repr_html_(self) -> str:
        return sessions_view(self._said(), records(self.sessions), self.complaints)

    def _said(self) -> str:
        counts = (self.sessions, "session"), (self.turns, "turn"), (self.complaints, "complaint")
        return ", ".join(plural(len(many), word) for many, word in counts)


def load(path: str | Path | Sequence[str | Path]) -> Traces:
    """The traces in a file, a folder, or a list of them. Raises SettingsError where there is none."""
    paths = [path] if isinstance(path, str | Path) else list(path)
    found: list[Source] = []
    complaints: list[str] = []
    for each in paths:
        try:
            there, told = sources(Path(each))
        except DamagedTrace as damage:
            raise SettingsError(damage.message) from None
        found += there
        complaints += told
    traces = Traces(found, complaints)
    if not traces.sources:
        reason = traces.complaints[0] if traces.complaints else "there is no .jsonl, .jsonl.gz or .zip file"
        raise SettingsError(f"No trace was found in {', '.join(map(str, paths))}: {reason}")
    return traces


def _undefined(rows: TraceRows, file: str) -> list[str]:
    """A sentence for the calls of tools that their requests do not define, with the line of the first."""
    calls = [call for call in rows.calls if not call["offered"]]
    if not calls:
        return []
    lines = {(turn["lane"], turn["turn"]): turn["line"] for turn in rows.turns}
    first, names = min(lines[call["lane"], call["turn"]] for call in calls), sorted({call["tool"] for call in calls})
    return [f"{file}, line {first}: tools are called that no request defines: {', '.join(names)}."]


def _stem(file: str) -> str:
    """`short-fix` of `traces/short-fix.jsonl.gz`."""
    return file.replace("\\", "/").rpartition("/")[2].partition(".")[0]
