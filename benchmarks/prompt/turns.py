"""What a prompt cache loses from one request of a conversation to the next, as models read them.

A request whose prompt does not begin with the whole prompt before it makes a server compute the rest anew. Counted are
the tokens behind the first difference, over all turns in which the history grew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.prompt.sections import TextCount
from anyclaude_lab.wire.request import Request
from tests.prompt.live import Recording
from tests.prompt.shapes import SHAPES, Shape

PLANS = {"as sent": None, "default": Plan(tier="aggressive"), "extreme, stubs": Plan(tier="extreme", stub_tools=True)}


def lost(requests: Sequence[Request], plan: Plan | None, shape: Shape, count: TextCount) -> Iterator[int]:
    """Tokens of the prompt before that each turn could not use."""
    sent = [request if plan is None else run(request, plan)[0] for request in requests]
    for older, newer in pairwise(zip(requests, sent, strict=True)):
        if len(newer[0].messages) > len(older[0].messages):
            before, after = shape.rendered(older[1]), shape.rendered(newer[1])
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
            yield count(before[same:])


def table(recordings: Sequence[Recording], count: TextCount) -> Iterator[str]:
    """The rows, for a terminal."""
    yield f"{'release':9}{'template':34}{'turns':>6}" + "".join(f"{name:>26}" for name in PLANS)
    for recording in recordings:
        lanes = recording.lanes().values()
        for shape in SHAPES:
            cells = []
            for plan in PLANS.values():
                tokens = [each for requests in lanes for each in lost(requests, plan, shape, count)]
                cells.append(f"{sum(tokens):12,} in {sum(map(bool, tokens)):3} turns")
            yield f"{recording.release:9}{shape.name:34}{len(tokens):6}" + "".join(f"{cell:>26}" for cell in cells)
