"""The real server: what is said of a prompt before it is sent is what the server reports."""

from __future__ import annotations

import pytest

import anyclaude_lab as lab
from tests.requirements import require_mlx
from tests.trace.record_sessions import BUNDLED

CLOSING_TOKENS = 6


@pytest.mark.engine
def test_prompt_and_reused_tokens_are_told_beforehand() -> None:
    require_mlx()
    stubs = lab.variant("stubs", backend="embedded", adapter="auto", stub_tools=True)
    plain = lab.variant("plain", backend="embedded", max_tokens=48, temperature=0.0)
    traces = lab.load(BUNDLED / "short-fix.jsonl")
    run = lab.replay(traces, [plain, stubs], progress=False, turns_per_session=3, repeat=2)
    turns = run.turns
    assert turns["error"].isna().all(), list(turns["error"])
    assert list(turns["prompt_tokens"]) == list(turns["rendered_tokens"])
    # The model may write the brackets that close a call in other tokens than its text has when it is read again.
    beyond = turns["expected_tokens"] - turns["prompt_tokens_cached"]
    assert beyond.between(0, CLOSING_TOKENS).all(), list(beyond)
    assert turns["ttft_s"].notna().sum() >= 8, "an answer may be empty, most are not"
    floor = run.noise_floor().set_index("variant")["self_fidelity"]
    assert floor["plain"] == 1.0, "a backend agrees with itself at temperature 0"
    assert (turns["output_tokens"] <= 96).all()
    assert turns["prompt_tokens_cached"].sum() > 0
