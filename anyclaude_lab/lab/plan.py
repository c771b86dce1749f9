"""What a replay asks, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyclaude_lab.errors import InvalidRequest, SettingsError
from anyclaude_lab.lab.cells import cell_key
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.turn import Turn, turns_of
from anyclaude_lab.lab.variant import Variant
from anyclaude_lab.trace.read import Recorded
from anyclaude_lab.wire.events import JsonObject

Sessions = dict[str, list[Turn]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A session, to be asked in one variant. `position` is its place in the run."""

    variant: Variant
    repeat: int
    turns: list[Turn]
    position: int

    @property
    def keys(self) -> list[str]:
        return [cell_key(turn.recorded, self.variant, self.repeat) for turn in self.turns]

    def within(self, done: Mapping[str, JsonObject]) -> bool:
        return all(key in done for key in self.keys)


def sessions_of(
    traces: Traces | Sequence[Turn], shard: tuple[int, int] | None, turns_per_session: int | None
) -> Sessions:
    """The turns that can be asked again, by session, in the order they were asked."""
    if isinstance(traces, str | Path):
        raise SettingsError(f"{str(traces)!r} is a name; give traces: lab.load({str(traces)!r}).")
    found: Sessions = {}
    for turn in _read(traces) if isinstance(traces, Traces) else traces:
        exchange = turn.recorded
        answered = exchange.data["response"]["status"] in (200, None) and exchange.answer
        if answered and mine(exchange.session, shard) and _is_request(exchange):
            found.setdefault(exchange.session, []).append(turn)
    if turns_per_session is not None:
        found = {name: turns[:turns_per_session] for name, turns in found.items()}
    if not found and shard is None:
        raise SettingsError("There is no answered request in these traces, nothing to replay.")
    return found


def _read(traces: Traces) -> Iterator[Turn]:
    for trace in traces.traces(verify=True):
        if trace.origin.get("redaction") == "shape":
            raise SettingsError(f"{trace.name} holds shapes instead of texts: it can be counted, not replayed.")
        yield from turns_of(trace)


def _is_request(exchange: Recorded) -> bool:
    try:
        exchange.request()
    except (InvalidRequest, KeyError):
        return False
    return True


def mine(session: str, shard: tuple[int, int] | None) -> bool:
    if shard is None:
        return True
    return int(hashlib.sha256(session.encode()).hexdigest(), 16) % shard[1] == shard[0] - 1


def planned(sessions: Sessions, variants: Sequence[Variant], repeat: int, seed: int) -> list[Asked]:
    """What is asked, in its order: arms side by side within a session, sessions as drawn by the seed.

    Two sessions, and two arms of one, stand in the same order whatever else is asked: in a shard as in the whole.
    """
    plan: list[Asked] = []
    for repetition in range(repeat):
        for name in sorted(sessions, key=lambda name: _drawn(seed, repetition, name)):
            order = sorted(variants, key=lambda one: _drawn(seed, repetition, name, one.fingerprint))
            plan += [Asked(one, repetition, sessions[name], len(plan) + n) for n, one in enumerate(order)]
    return plan


def _drawn(*what: object) -> bytes:
    """A place in an order, by chance but for the seed in it."""
    return hashlib.sha256(repr(what).encode()).digest()
