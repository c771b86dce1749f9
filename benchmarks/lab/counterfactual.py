"""What the cure of a broken prefix is worth, told on paper and found on the real server.

    python -m benchmarks.lab.counterfactual [--most N] [--default]

For every break in the bundled sessions, as the client sends them (or after our default prompt work), `mlx_lm.server`
is asked: the turn before, then the turn that broke; and again the turn before, then the turn with that one thing as it
was. How many more tokens came from the cache is held against the `fixed_tokens` of `lab.prefix_breaks`. Each of the
four begins with a nonce of its pair, so that nothing else is in the cache.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import anyclaude_lab as lab
from anyclaude_lab.engine import embedded
from anyclaude_lab.lab.breaks import Break, Sent, undone
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.prefixes import broken
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.lab.variant import Variant
from anyclaude_lab.wire.request import Request
from benchmarks.engine.serving import Server, stock

TRACES = Path(__file__).parents[2] / "traces"
UNTOUCHED = lab.variant("untouched", backend="embedded", strip_billing=False, stabilise=False)
DEFAULT = lab.variant("default", backend="embedded")


def gains(server: Server, traces: Traces, variant: Variant) -> Iterator[tuple[Break, int]]:
    """Each break, and how many tokens more the server took from its cache once it was undone."""
    renderer, nonces = Renderer(embedded.folder()), count(10_000_000)
    for _, before, after, found in broken(traces, variant, renderer):
        as_is, cured = (
            _cached(server, renderer, next(nonces), before, then) for then in (after.request, undone(before, after))
        )
        yield found, cured - as_is


def _cached(server: Server, renderer: Renderer, nonce: int, before: Sent, then: Request) -> int:
    """Tokens of `then` that come from the cache when `before` was asked just now, those of its answer left out."""
    asked_tokens: list[int] = []
    for request in (before.request, then):
        marked = request.with_(system=[{"type": "text", "text": f"[{nonce}]"}, *request.system])
        body = renderer.body(marked) | {"model": "default_model", "max_tokens": 1, "stream": False}
        _, answer = server.whole(**body)
        asked_tokens.append(answer["usage"]["prompt_tokens"])
    cached_tokens = int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    return min(cached_tokens, asked_tokens[0])


def main() -> None:
    """Ask, compare, print."""
    flags = argparse.ArgumentParser("python -m benchmarks.lab.counterfactual")
    flags.add_argument("--most", type=int, help="only the first N breaks (default: all)")
    flags.add_argument("--default", action="store_true", help="after our default prompt work")
    given = flags.parse_args()
    with stock(embedded.folder()) as server:
        measured = gains(server, lab.load(TRACES), DEFAULT if given.default else UNTOUCHED)
        found = list(islice(measured, given.most))
    equal = sum(one.fixed_tokens == gained for one, gained in found)
    print(f"{len(found)} breaks {dict(Counter(one.cause for one, _ in found))}: the gain is what was said for {equal}")
    for one, gained in found:
        if one.fixed_tokens != gained:
            print(f"  {one.cause} at {one.pointer}: said {one.fixed_tokens}, found {gained}")
    print(f"tokens lost {sum(one.tokens_lost for one, _ in found):,}, of which mended {sum(g for _, g in found):,}")


if __name__ == "__main__":
    main()
