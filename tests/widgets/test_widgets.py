"""Widgets in plain Python: what a knob changes is what the lab says, with or without somebody to show it to."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.frames import records
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.trial import pair, trial
from tests.proxy.conftest import ASK
from tests.standins.http import running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply
from tests.views.test_html import Seen

VIEW = "application/vnd.jupyter.widget-view+json"


def check(widget: Any) -> Seen:
    """The same facts for every front end, and for none."""
    bundle = widget._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", VIEW}
    assert bundle["text/plain"] == repr(widget) and "\n" not in repr(widget) and " at 0x" not in repr(widget)
    assert bundle["text/html"] == widget._repr_html_() == widget.shown()
    seen = Seen(bundle["text/html"])
    assert "script" not in [name for name, _ in seen.tags]
    return seen


def test_knobs_of_the_tuner_change_its_trial(traces: Traces) -> None:
    turn = traces.turn("short-fix", turn=2)
    tuner = lab.widgets.TierTuner(turn)
    first = tuner.trial
    assert first == trial(turn, tuner.variant) and tuner.pieces.html == tuner.shown()
    tuner.stub_tools.value = True
    assert tuner.trial.prompt_tokens < first.prompt_tokens and tuner.pieces.html == tuner.shown()
    tuner.tier.value, tuner.adapter.value, tuner.stabilise.value = "extreme", "qwen", False
    chosen = lab.variant("x", backend="embedded", tier="extreme", adapter="qwen", stub_tools=True, stabilise=False)
    assert tuner.variant.fingerprint == chosen.fingerprint
    assert tuner.trial.prompt_tokens == lab.explain(turn, chosen).prompt_tokens
    assert f"{tuner.trial.prompt_tokens:,}" in check(tuner).text


def test_a_replay_is_shown_until_a_knob_is_turned(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = lab.widgets.TierTuner(traces.turn("short-fix", turn=2))
    scripted = lab.variant("s", backend="scripted")
    monkeypatch.setattr(type(tuner), "variant", scripted)  # answered as recorded, without an engine
    tuner.button.click()
    assert tuner.replayed["prompt_tokens"] > tuner.replayed["prompt_tokens_cached"] > 1000
    assert f"{tuner.replayed['prompt_tokens']:,}" in Seen(tuner.pieces.html).text
    tuner.stub_tools.value = True
    assert tuner.replayed is None and "Replay on" not in tuner.pieces.html


async def test_a_replay_goes_on_beside_the_notebook(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = lab.widgets.TierTuner(traces.turn("short-fix", turn=2))
    monkeypatch.setattr(type(tuner), "replay", lambda self: {"error": "no engine here"})
    tuner.button.click()
    await asyncio.sleep(0)
    assert (tuner.button.disabled, tuner.button.description) == (True, "Replaying…")
    await tuner._task
    assert not tuner.button.disabled and "no engine here" in tuner.pieces.html


def test_the_viewer_shows_the_turn_that_is_chosen(traces: Traces) -> None:
    viewer = lab.widgets.TraceViewer(traces, "subagents")
    viewer.overview.chosen = "5"
    assert viewer.turn.key == traces.session_turns("subagents")[5].key
    assert viewer.turn.answer.calls[0].arguments in Seen(viewer.exchange.html).text
    for nothing in ("99", "x", "-1"):
        viewer.overview.chosen = nothing
        assert viewer.chosen == 5
    viewer.session.value = traces.turn("short-fix").recorded.session
    assert viewer.chosen == 0 and len(viewer.turns) == 5
    check(viewer)
    with pytest.raises(SettingsError, match="no session"):
        lab.widgets.TraceViewer(traces, "nowhere")


def test_the_difference_is_shown_as_recorded_and_after_prompt_work(traces: Traces) -> None:
    turns = traces.turn("broken-prefix", turn=0), traces.turn("broken-prefix", turn=1)
    shown = lab.widgets.PrefixDiff(*turns)
    assert shown.pair == pair(*turns) and shown.pair.broken["cause"] == "nonce"
    assert "nonce" in check(shown).text and "2,0" in repr(shown)
    shown.sent.value = shown.sent.options[1][1]
    assert shown.pair.broken is None and "continues" in check(shown).text


def test_runs_are_compared_with_the_baseline_that_is_chosen(run: Run) -> None:
    shown = lab.widgets.CompareRuns(run)
    assert "2 variants against plain" in check(shown).text
    shown.baseline.value = "stubs"
    saved = records(run.summary("stubs"))[0]["saved_ratio"]
    assert saved < 0 and shown.comparison.value(shown.comparison.rows[0], "saved") == saved
    before = shown.pieces.html
    shown.across.value = "ttft"
    assert shown.pieces.html != before and "speed and fidelity" in check(shown).text
    assert lab.widgets.CompareRuns([run, run], baseline="stubs (run 2)").baseline.value == "stubs (run 2)"
    with pytest.raises(SettingsError, match="no variant"):
        lab.widgets.CompareRuns(run, baseline="x")


async def test_a_proxy_is_started_watched_and_stopped(tmp_path: Path) -> None:
    with running(OpenAIStandIn([reply("hello")])) as backend:
        local = {"local": {"baseUrl": f"{backend.url}/v1"}}
        live = lab.widgets.LiveProxy(backends=local, state_folder=tmp_path)
        assert "not running" in check(live).text and live.stop_button.disabled
        await live.start()
        assert live.proxy.url in check(live).text and live.start_button.disabled
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(f"{live.proxy.url}/v1/messages", json=ASK, timeout=60)).status_code == 200
        async with asyncio.timeout(60):
            while not live.watch.live.over or "end_turn" not in live.pieces.html:
                await asyncio.sleep(0.02)
        assert repr(live) == f"<LiveProxy: {live.proxy.url}; 1 answered, 0 failed>"
        await live.stop()
        assert "not running; 1 answered" in repr(live) and not live.start_button.disabled


def test_a_proxy_is_stopped_from_another_event_loop_than_it_was_started_in(tmp_path: Path) -> None:
    with running(OpenAIStandIn([])) as backend:  # as JupyterLab answers each button in one of its own
        live = lab.widgets.LiveProxy(backends={"local": {"baseUrl": f"{backend.url}/v1"}}, state_folder=tmp_path)
        asyncio.run(live.start())
        assert live.proxy.url in repr(live)
        asyncio.run(live.stop())
        assert "not running" in repr(live)


async def test_a_proxy_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    live = lab.widgets.LiveProxy(backend="openrouter", state_folder=tmp_path)
    await live.start()
    assert "OPENROUTER_API_KEY" in check(live).text and not live.start_button.disabled


def test_without_ipywidgets_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("anyclaude_lab.widgets.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(SettingsError, match=r"pip install 'anyclaude-lab\[notebooks\]'"):
        _ = lab.widgets.TierTuner
    with pytest.raises(AttributeError, match="Nothing"):
        _ = lab.widgets.Nothing
