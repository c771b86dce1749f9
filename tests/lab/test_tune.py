"""The search: it finds the least that keeps the constraint, drops what is hopeless, and explains what it does."""

from __future__ import annotations

import json
from typing import Any

import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab import tune as tuning
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.run import Run
from anyclaude_lab.settings import load_settings
from anyclaude_lab.trace.read import read_trace
from tests.trace.record_sessions import BUNDLED


@pytest.fixture(scope="module")
def traces() -> Traces:
    found: Traces = lab.load([BUNDLED / "short-fix.jsonl", BUNDLED / "toolsearch-mcp.jsonl"])
    return found


def test_the_least_that_behaves_is_chosen(traces: Traces, tmp_path: Any) -> None:
    run = lab.tune(traces, backend="scripted", tiers=("off", "minimal"), progress=False)
    tuned = run.head["tuned"]
    assert "stubs" in tuned["variant"]
    assert tuned["config"]["backends"]["local"]["stubToolDescriptions"] is True
    assert run.variants[0] == "unfiltered"
    (tmp_path / ".anyclauderc.json").write_text(json.dumps(tuned["config"]))
    settings, warnings = load_settings({}, {}, cwd=tmp_path, home=tmp_path)
    assert settings.stub_tools is True
    assert warnings == []


def test_a_fault_planted_in_an_arm_keeps_it_from_being_chosen(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stubs that cost the behaviour are dropped after the first round."""

    def spoiled(traces: Traces, variants: Any, **options: Any) -> Run:
        run = lab.replay(traces, variants, **options)
        cells = [cell | ({"fidelity": 0.2} if cell["stub_tools"] and cell["fidelity"] else {}) for cell in run.cells]
        return Run(run.head, cells)

    monkeypatch.setattr(tuning, "replay", spoiled)
    run = lab.tune(traces, backend="scripted", tiers=("off",), progress=False)
    assert run.head["tuned"]["dropped"] == ["tier off, stubs"]
    assert "stubs" not in run.head["tuned"]["variant"]


@pytest.mark.parametrize("changes", [{"objective": "beauty"}, {"constraint": "as good as new"}])
def test_what_is_not_understood_is_said(traces: Traces, changes: Any) -> None:
    with pytest.raises(SettingsError, match=r"no objective|no constraint"):
        lab.tune(traces, backend="scripted", **changes)


def test_an_explanation_accounts_for_every_token() -> None:
    turn = read_trace(BUNDLED / "broken-prefix.jsonl").in_order()[0]
    told = lab.explain(turn, lab.variant("x", backend="embedded", stub_tools=True))
    steps = told.steps.set_index("step")["saved_tokens"].to_dict()
    assert steps["billing"] > 0 and steps["stubs"] > 100
    assert sum(steps.values()) == told.before.total - told.after.total
    assert told.prompt is not None and "x-anthropic" not in told.prompt
    assert told.prompt_tokens is not None
    assert "stubs" in repr(told)
    assert repr(told) == repr(lab.explain(turn.request().body, lab.variant("x", backend="embedded", stub_tools=True)))


def test_an_explanation_shows_hostile_text_as_text() -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "<script>alert(1)</script>"}]}
    page = lab.explain(body, lab.variant("<i>", backend="embedded"))._repr_html_()
    assert "<script" not in page and "<i>" not in page
    with pytest.raises(SettingsError, match="explained"):
        lab.explain("text", lab.variant("x", backend="embedded"))
