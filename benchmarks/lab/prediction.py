"""Prompt length and reused tokens, told beforehand and reported by the real server, over the bundled sessions.

`python -m benchmarks.lab.prediction [TURNS PER SESSION]`: prints how many are equal, and every miss.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import anyclaude_lab as lab

TRACES = Path(__file__).parents[2] / "traces"


def main(turns_per_session: int | None = None) -> None:
    """Replay on the embedded engine, compare, print."""
    variants = [
        lab.variant("untouched", backend="embedded", strip_billing=False, stabilise=False),
        lab.variant("as the proxy, stubs", backend="embedded", tier="aggressive", adapter="auto", stub_tools=True),
    ]
    began = time.monotonic()
    run = lab.replay(lab.load(TRACES), variants, turns_per_session=turns_per_session)
    turns = run.turns[run.turns["error"].isna()]
    prompts = turns["prompt_tokens"] == turns["rendered_tokens"]
    cached = turns["prompt_tokens_cached"] == turns["expected_tokens"]
    took_s, errors = time.monotonic() - began, len(run.turns) - len(turns)
    print(f"{len(turns)} turns of {turns['session'].nunique()} sessions in {took_s:.0f} s, {errors} errors")
    for name, equal in (("prompt", prompts), ("cached", cached)):
        print(f"{name} tokens equal on {equal.sum()} ({equal.mean():.1%})")
    told = ["prompt_tokens", "rendered_tokens", "prompt_tokens_cached", "expected_tokens"]
    columns = ["variant", "session", "turn", *told]
    missed = turns[~(prompts & cached)][columns]
    print(missed.to_string(index=False) if len(missed) else "no miss")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
