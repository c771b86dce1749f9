"""Tokens of a first request's system prompt and tools: as they come, at each tier, as stubs, and what has to stay.

The floor is what neither may lose: protected system text; names, types, enumerations, required parameters, bounds and
twelve tokens of text for each tool. Shares are of what stands between raw and floor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.prompt.sections import TextCount
from anyclaude_lab.prompt.tiers import TIERS, filter_system
from anyclaude_lab.wire.request import Request
from tests.prompt.live import Recording
from tests.prompt.stubs.figures import figures

STAYS = ": stays"  # how a tier says that nothing allows a text to go


@dataclass(frozen=True, slots=True)
class Saving:
    """One kind of prompt of one release. `system` by tier, `off` for as it comes without the attribution block."""

    release: str
    family: str
    system: dict[str, int]
    system_floor: int
    tools: int
    stubs: int
    tools_floor: int

    def removed(self, tier: str, *, stubs: bool) -> float | None:
        """The share of the removable tokens; None where there are none."""
        raw, floor = self.system["off"] + self.tools, self.system_floor + self.tools_floor
        left = self.system[tier] + (self.stubs if stubs else self.tools)
        return (raw - left) / (raw - floor) if raw > floor else None

    def smaller(self, tier: str) -> float:
        """The share of all tokens of system and tools that tier and stubs together remove."""
        return 1 - (self.system[tier] + self.stubs) / (self.system["off"] + self.tools)


def saving(release: str, family: str, request: Request, count: TextCount) -> Saving:
    """The figures of one first request."""
    plain, _, _ = run(request, Plan(stabilise=False))
    left = {tier: filter_system(plain, tier, count) for tier in TIERS}
    kept = [part for part in left["extreme"].sections if part.kept and part.why.endswith(STAYS)]
    tools = figures(plain, count) if plain.tools else None
    return Saving(
        release,
        family,
        {tier: sum(count(block["text"]) for block in filtered.request.system) for tier, filtered in left.items()},
        sum(part.tokens for part in kept),
        tools.raw if tools else 0,
        tools.stubs if tools else 0,
        tools.floor if tools else 0,
    )


def savings(recording: Recording, count: TextCount) -> Iterator[Saving]:
    """One row for each kind of prompt that the release sent."""
    seen = set()
    for sent in recording.sent:
        family = filter_system(sent.request, "off", count).family
        kind = (family, sent.session == "known" and len(sent.body.get("tools") or ()) > 3, bool(sent.body.get("tools")))
        if sent.session == "elsewhere" or kind in seen:
            continue
        seen.add(kind)
        yield saving(recording.release, f"{family}, known model" if kind[1] else family, sent.request, count)


def table(recordings: Sequence[Recording], count: TextCount) -> Iterator[str]:
    """The rows, for a terminal."""
    tiers = "".join(f"{tier[:8]:>9}" for tier in TIERS)
    yield (f"{'':37}{'system':>9}{'':{9 * len(TIERS)}}{'tools':>9}{'':18}{'of what is removable':>24}{'of all':>8}")
    yield (
        f"{'release':9}{'prompt':28}{tiers}{'floor':>9}{'raw':>9}{'stubs':>9}{'floor':>9}"
        f"{'mod+st':>8}{'ext+st':>8}{'ext':>8}{'ext+st':>8}"
    )
    for recording in recordings:
        for row in savings(recording, count):
            system = "".join(f"{row.system[tier]:9,}" for tier in TIERS)
            shares = [row.removed("moderate", stubs=True), row.removed("extreme", stubs=True)]
            alone = _system_share(row)
            cells = "".join(f"{'-':>8}" if share is None else f"{share:8.1%}" for share in [*shares, alone])
            yield (
                f"{row.release:9}{row.family[:27]:28}{system}{row.system_floor:9,}{row.tools:9,}{row.stubs:9,}"
                f"{row.tools_floor:9,}{cells}{row.smaller('extreme'):8.1%}"
            )


def _system_share(row: Saving) -> float | None:
    removable = row.system["off"] - row.system_floor
    return (row.system["off"] - row.system["extreme"]) / removable if removable > 0 else None
