"""Prompt length and reused tokens, told beforehand and reported by the real servers, over the bundled sessions.

    python -m benchmarks.lab.prediction [--turns N] [--model embedded|plain|window|recurrent]

Every turn of every session is replayed through `mlx_lm.server` in three variants. What is predicted follows from the
requests alone and from the tokens that the server says it wrote (`teller.py`): the prompt by our chat template and
tokenizer, the reused tokens by `MlxCache`. Our own engine is asked the same afterwards, and held against `IdealCache`:
whatever was sent before is to be reused as far as it goes. Prints how many turns are equal, and every miss.
`plain`, `window`, `recurrent`: models with random weights, whose layers keep their state in different ways.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import anyclaude_lab as lab
from anyclaude_lab.engine import embedded
from anyclaude_lab.engine.serve.prefixes import LEAST_TOKENS
from anyclaude_lab.lab.metrics.reuse import IdealCache, MlxCache, tokens_of
from anyclaude_lab.lab.rendered import Renderer
from benchmarks.engine.random_model import WINDOW, write
from benchmarks.engine.serving import ours, stock
from benchmarks.lab.teller import Teller, Told, telling

TRACES = Path(__file__).parents[2] / "traces"
CACHES: dict[str, dict[str, Any]] = {
    "embedded": {},
    "plain": {},
    "window": {"window_tokens": WINDOW},
    "recurrent": {"trimmable": False},
}
MAX_TOKENS = 96  # the demonstration model's answers are short, those of random weights have no end
ASKED_FIRST = {"messages": [{"role": "user", "content": "Hello"}]}  # by which a server's start is waited for


@dataclass(frozen=True, slots=True)
class Predicted:
    """One turn, and what was said of it."""

    told: Told
    prompt_tokens: int
    cached_tokens: int

    @property
    def right(self) -> tuple[bool, bool]:
        return self.prompt_tokens == self.told.prompt_tokens, self.cached_tokens == self.told.cached_tokens


def by_mlx_lm(heard: Sequence[Told], renderer: Renderer, cache: MlxCache) -> Iterator[Predicted]:
    """Each turn from those before it."""
    first = renderer.read(ASKED_FIRST).tokens
    cache.store(first, np.append(first, tokens_of([-1])), by_user=True)
    for told in heard:
        prompt = renderer.read(told.body).tokens
        yield Predicted(told, len(prompt), cache.reused(prompt))
        stored = np.concatenate([prompt, tokens_of(told.tokens or [])])
        by_user = told.body["messages"][-1]["role"] == "user"
        cache.store(prompt, stored, system_tokens=renderer.system_tokens(told.body), by_user=by_user)


def by_our_engine(heard: Sequence[Told], others: Sequence[Told], renderer: Renderer) -> Iterator[Predicted]:
    """It does not name the tokens it wrote: they are those of `others`, asked the same with the same weights."""
    cache = IdealCache()
    for told, other in zip(heard, others, strict=True):
        prompt = renderer.read(told.body).tokens
        reused = min(cache.reused(prompt), len(prompt) - 1)
        yield Predicted(told, len(prompt), reused if reused >= LEAST_TOKENS else 0)
        written = other.tokens or []
        kept = written[:-1] if told.finish_reason == "length" else written  # the last one is not read back
        cache.store(prompt, np.concatenate([prompt, tokens_of(kept)]))


def replayed(teller: Teller, url: str, turns: int | None) -> tuple[list[Told], int, float]:
    """Ask the server at `url` everything. Returns what was heard, the number of errors, and the seconds it took."""
    teller.upstream, teller.heard = url, []
    asked = {"backend": f"mlx={teller.url}/v1", "max_tokens": MAX_TOKENS, "temperature": 0.0}
    variants = [
        lab.variant("untouched", strip_billing=False, stabilise=False, **asked),
        lab.variant("as the proxy", tier="aggressive", adapter="auto", **asked),
        lab.variant("with stubs", tier="aggressive", adapter="auto", stub_tools=True, **asked),
    ]
    began = time.monotonic()
    run = lab.replay(lab.load(TRACES), variants, turns_per_session=turns)
    return teller.heard, int(run.turns["error"].notna().sum()), time.monotonic() - began


def told(name: str, found: Sequence[Predicted], errors: int, took_s: float) -> None:
    """Print how many were right, and all that were not."""
    print(f"{name}: {len(found)} turns in {took_s:.0f} s, {errors} errors")
    for place, what in enumerate(("prompt", "reused")):
        equal = sum(one.right[place] for one in found)
        print(f"  {what} tokens equal on {equal} ({equal / len(found):.1%})")
    for number, one in enumerate(found):
        if not all(one.right):
            print(f"  turn {number}: predicted {one.prompt_tokens} and {one.cached_tokens}, reported "
                  f"{one.told.prompt_tokens} and {one.told.cached_tokens}")  # fmt: skip


def main() -> None:
    """Replay, predict, print."""
    flags = argparse.ArgumentParser("python -m benchmarks.lab.prediction")
    flags.add_argument("--turns", type=int, help="only the first N turns of a session (default: all)")
    flags.add_argument("--model", choices=CACHES, default="embedded")
    given = flags.parse_args()
    made = given.model != "embedded"
    with tempfile.TemporaryDirectory() as scratch, telling() as teller:
        folder = write(Path(scratch, "model"), given.model) if made else embedded.folder()
        renderer = Renderer(folder)
        asked = partial(replayed, teller, turns=given.turns)
        with stock(folder) as server:
            stocks, errors, took_s = asked(server.url)
        predicted = list(by_mlx_lm(stocks, renderer, MlxCache(**CACHES[given.model])))
        told(f"mlx_lm.server, {given.model} model", predicted, errors, took_s)
        if not made:  # of other layers our engine keeps other things
            with ours(folder) as server:
                own, errors, took_s = asked(server.url)
            told("our engine, embedded model", list(by_our_engine(own, stocks, renderer)), errors, took_s)


if __name__ == "__main__":
    main()
