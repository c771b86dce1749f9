"""How much of the head (system and tools) two sessions in different projects share, as models read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.prompt.sections import TextCount
from anyclaude_lab.wire.request import Request
from tests.prompt.live import Recording
from tests.prompt.shapes import SHAPES, Shape

BEGINS = "the first words of the user"
PLANS = {
    "stabilised": Plan(),
    "aggressive": Plan(tier="aggressive"),
    "extreme, stubs": Plan(tier="extreme", stub_tools=True),
}


def shared(here: Request, there: Request, shape: Shape, count: TextCount) -> tuple[int, int]:
    """Tokens of the head of `here`, and how many of them `there` begins with."""
    begun = here.with_(messages=[{"role": "user", "content": BEGINS}])
    head = shape.rendered(begun).partition(BEGINS)[0]
    other = shape.rendered(there)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(head, other, strict=False)))
    return count(head), count(head[:same])


def table(recordings: Sequence[Recording], count: TextCount) -> Iterator[str]:
    """The rows, for a terminal."""
    yield f"{'release':9}{'template':34}{'as sent':>10}" + "".join(f"{name:>18}" for name in PLANS)
    for recording in recordings:
        sent = recording.first("work"), recording.first("elsewhere")
        for shape in SHAPES:
            head, same = shared(*sent, shape, count)
            cells = [f"{same / head:10.1%}"]
            for plan in PLANS.values():
                head, same = shared(run(sent[0], plan)[0], run(sent[1], plan)[0], shape, count)
                cells.append(f"{same / head:9.1%} {f'of {head:,}':>8}")
            yield f"{recording.release:9}{shape.name:34}" + "".join(cells)
