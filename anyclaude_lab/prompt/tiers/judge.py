"""What each unit of a system prompt is, and from which tier it goes.

A verdict depends on the prompt alone. Filtering a filtered prompt again therefore changes nothing: what is taken away
can only make less of the rest known as the client's, and what is not known stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from anyclaude_lab.prompt.tiers.core import CORE_TEXTS
from anyclaude_lab.prompt.tiers.outline import Unit
from anyclaude_lab.prompt.tiers.table import (
    FAMILIES,
    FULL_HEADINGS,
    GENERIC,
    IDENTITY,
    MINIMAL,
    NEVER,
    ONLY_FOR_BUDGET,
    OPENING,
    PROTECTED,
    SESSION_FROM_HERE,
    SESSION_HEADINGS,
    Kind,
)

HEADING = Kind("heading", NEVER)  # goes with the last unit of its section
OWN_WORDS = Kind("not known as the client's", NEVER)
UNKNOWN = Kind("unknown words between the client's", ONLY_FOR_BUDGET)
_FIRST = Kind("opening", NEVER)
_CORE = Kind("core prompt", NEVER)
_SESSION = Kind("session", NEVER)
_EXAMPLE = Kind("examples", MINIMAL)
_REPEATED = Kind("said before", MINIMAL)

_LEAST_SIGNED = 2
_MAIN = ("full", "lean")
_USERS = ("agent", "sdk", "unknown")
_UNTOUCHED = ("compaction", "helper")


@dataclass(frozen=True, slots=True)
class Place:
    """A unit where it stands: its block, and the headings above it, outermost first (indices of units)."""

    block: int
    unit: Unit
    headings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The family of a prompt and the kind of each of its units.

    `generic` are the headings of the sections that are known as the client's and may go.
    """

    family: str
    places: tuple[Place, ...]
    kinds: tuple[Kind, ...]
    generic: frozenset[int]

    @property
    def main(self) -> bool:
        """Whether this is a prompt of the main conversation, for which the core prompt is written."""
        return self.family in _MAIN

    @property
    def has_core(self) -> bool:
        """Whether the core prompt stands in it already."""
        return _CORE in self.kinds


def judge(blocks: Sequence[Sequence[Unit]]) -> Judgement:
    """What every unit of these blocks is. A heading of one block does not reach into the next."""
    reading = _Reading(tuple(_places(blocks)))
    kinds = [reading.kind(at) for at in range(len(reading.places))]
    _follow_leads(reading, kinds)
    generic = frozenset(at for at, kind in reading.sections.items() if kind.goes < NEVER)
    return Judgement(reading.family, reading.places, tuple(kinds), generic)


def _places(blocks: Sequence[Sequence[Unit]]) -> Iterator[Place]:
    index = 0
    for number, units in enumerate(blocks):
        open_headings: list[tuple[int, int]] = []  # level, index
        for unit in units:
            if unit.level:
                open_headings = [heading for heading in open_headings if heading[0] < unit.level]
            yield Place(number, unit, tuple(at for _, at in open_headings))
            if unit.level:
                open_headings.append((unit.level, index))
            index += 1


class _Reading:
    """One prompt, read once in order; what is asked of a unit may depend on where the client's words end."""

    def __init__(self, places: tuple[Place, ...]) -> None:
        self.places = places
        self.folded = [place.unit.text.casefold() for place in places]
        self.titles = [place.unit.title.casefold() if place.unit.level else "" for place in places]
        self.first = next((at for at, place in enumerate(places) if not place.unit.level), -1)
        whole = "\n".join(self.folded)
        self._protected = _present(PROTECTED, whole)
        self._generic = _present(GENERIC, whole)
        self.session = list(self._of_session())
        self.signed = [self._signed(at) for at in range(len(places))]
        self.last = self._last()
        self.sections = self._sections()
        self.family = self._family()
        self._said: dict[str, int] = {}
        for at in reversed(range(len(places))):
            self._said[self.folded[at]] = at

    def kind(self, at: int) -> Kind:
        """What the unit is, by the strongest thing known of it."""
        place, signed = self.places[at], self.signed[at]
        if place.unit.level:
            return HEADING
        if self.session[at]:
            return _SESSION
        if self.family in _UNTOUCHED:
            return OWN_WORDS
        if place.unit.text in CORE_TEXTS:
            return _CORE
        if at == self.first:
            return _FIRST
        if signed is OPENING and self.family not in _MAIN:
            return OWN_WORDS
        if signed is not None:
            return _REPEATED if signed.goes == NEVER and self._repeats(at) else signed
        if place.unit.tag == "example" and self.family in _MAIN and at < self.last:
            return _EXAMPLE
        return self._by_section(at)

    def _of_session(self) -> Iterator[bool]:
        """Whether each unit belongs to the session: below one of its headings, or after its text has begun."""
        begun = False
        for at, place in enumerate(self.places):
            begun = begun or any(sign in self.folded[at] for sign in SESSION_FROM_HERE)
            titles = [self.titles[heading] for heading in place.headings] + [self.titles[at]]
            yield begun or any(title.startswith(SESSION_HEADINGS) for title in titles if title)

    def _signed(self, at: int) -> Kind | None:
        """The kind that the unit's own words say it is."""
        place, text = self.places[at], self.folded[at]
        if place.unit.level or self.session[at]:
            return None
        above = {self.titles[heading] for heading in place.headings}
        for kind, signs in self._protected:
            if any(sign in text for sign in signs):
                return kind
        for kind, signs in self._generic:
            if (not kind.headings or not above.isdisjoint(kind.headings)) and any(sign in text for sign in signs):
                return kind
        return None

    def _last(self) -> int:
        """The client's last own words before the session's: what has no sign of its own is the client's up to here."""
        before = self.session.index(True) if True in self.session else len(self.places)
        return max((at for at, kind in enumerate(self.signed[:before]) if kind and kind.goes < NEVER), default=-1)

    def _sections(self) -> dict[int, Kind]:
        """The client's sections by their headings: one that protects, or one that has words of its kind below it."""
        sections = {
            at: kind for at, title in enumerate(self.titles) if title for kind in PROTECTED if title in kind.headings
        }
        for at, signed in enumerate(self.signed):
            if signed and signed.headings and signed.goes < NEVER:
                own = next(h for h in reversed(self.places[at].headings) if self.titles[h] in signed.headings)
                sections[own] = signed
        return sections

    def _family(self) -> str:
        """By words anywhere but in the session's text: what is taken away then makes no other family of the rest."""
        whole = "\n".join(text for text, session in zip(self.folded, self.session, strict=True) if not session)
        found = [name for name, signs in FAMILIES if any(sign in whole for sign in signs)]
        others = sum(kind is not None and kind.goes < NEVER and kind is not OPENING for kind in self.signed)
        # One sign may be the user's own words; the client's long prompts have many, its small ones none.
        theirs = others >= _LEAST_SIGNED
        if (theirs and OPENING.name in found) or any(place.unit.text in CORE_TEXTS for place in self.places):
            return "full" if any(self.titles[at] in FULL_HEADINGS for at in self.sections) else "lean"
        for name in found:
            if name != OPENING.name and not (theirs and name in _UNTOUCHED):
                return name
        if any(sign in whole for sign in IDENTITY.signs):
            return "agent" if others else "sdk"
        return "unknown" if self.places else "none"

    def _repeats(self, at: int) -> bool:
        """Whether a prompt of the client says this a second time; the user may say things twice."""
        return self.family not in _USERS and self._said[self.folded[at]] < at

    def _by_section(self, at: int) -> Kind:
        """What an unsigned unit is: of its section where that is the client's and the client still speaks after it."""
        section = next((self.sections[h] for h in reversed(self.places[at].headings) if h in self.sections), None)
        if section is not None and (section.goes == NEVER or at < self.last):
            return section
        return UNKNOWN if self.family in _MAIN and at < self.last else OWN_WORDS


def _present(kinds: Sequence[Kind], whole: str) -> list[tuple[Kind, list[str]]]:
    """The kinds of which a sign occurs in the prompt at all, with those signs: most units of most prompts have none."""
    found = [(kind, [sign for sign in kind.signs if sign in whole]) for kind in kinds]
    return [(kind, signs) for kind, signs in found if signs]


def _follow_leads(reading: _Reading, kinds: list[Kind]) -> None:
    """Items without words of their own are what the line that leads to them is; such a line is what its items are."""
    leads = [(at, items) for at in range(len(kinds)) if (items := _items_led_by(reading.places, at))]
    for at, items in leads:
        if kinds[at] not in (OWN_WORDS, UNKNOWN):
            for item in items:
                if reading.signed[item] is None and kinds[item] in (OWN_WORDS, UNKNOWN):
                    kinds[item] = kinds[at]
    for at, items in reversed(leads):
        strongest = max((kinds[item] for item in items), key=lambda kind: kind.goes)
        if kinds[at] in (OWN_WORDS, UNKNOWN):
            kinds[at] = strongest


def _items_led_by(places: Sequence[Place], at: int) -> list[int]:
    """The items of the list that a line ending in a colon leads to: below a paragraph all, below an item the deeper."""
    lead = places[at]
    if lead.unit.level or not lead.unit.text.rstrip().endswith(":"):
        return []
    depth = _indent(lead.unit) if lead.unit.item else -1
    following = (number for number in range(at + 1, len(places)))
    return list(
        takewhile(
            lambda number: (
                places[number].unit.item and places[number].block == lead.block and _indent(places[number].unit) > depth
            ),
            following,
        )
    )


def _indent(unit: Unit) -> int:
    return len(unit.text) - len(unit.text.lstrip(" \t"))
