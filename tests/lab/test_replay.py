"""Replay on the scripted backend: every figure is the same on every machine."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab import gate, report
from anyclaude_lab.lab.answers import read_answer
from anyclaude_lab.lab.cells import combine
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.run import Run
from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.trace.record import Encoder, Entry, Recording
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.scrub import scrubbed
from anyclaude_lab.wire.fold import unfold
from tests.trace.record_sessions import BUNDLED

UNTOUCHED = lab.variant("untouched", backend="scripted", strip_billing=False, stabilise=False)
STUBS = lab.variant("stubs", backend="scripted", stub_tools=True)


@pytest.fixture(scope="module")
def traces() -> Traces:
    found: Traces = lab.load([BUNDLED / "short-fix.jsonl", BUNDLED / "broken-prefix.jsonl"])
    return found


@pytest.fixture(scope="module")
def run(traces: Traces) -> Run:
    found: Run = lab.replay(traces, [UNTOUCHED, STUBS], progress=False)
    return found


def figures(run: Run) -> pd.DataFrame:
    """What must not depend on when and where it was run."""
    columns = ["variant", "repeat", "session", "lane", "turn", "rendered_tokens", "fidelity", "failure"]
    return run.turns.sort_values(columns[:5], ignore_index=True)[columns]


def figure(run: Run, variant: str, column: str) -> float:
    return float(run.summary().set_index("variant")[column].to_dict()[variant])


def test_a_backend_agrees_with_itself(run: Run) -> None:
    assert run.turns["error"].isna().all()
    assert run.turns["fidelity"].dropna().eq(1.0).all()
    assert run.turns["failed_rung"].isna().all()
    assert figure(run, "untouched", "fidelity") == figure(run, "untouched", "trigger_f1") == 1.0


def test_every_turn_is_asked_in_every_variant_in_its_order(traces: Traces, run: Run) -> None:
    assert len(run.turns) == 2 * len(traces.turns)
    for _, lane in run.turns.groupby(["variant", "lane"], observed=True):
        assert list(lane["turn"]) == list(range(len(lane)))


def test_stubs_save_and_the_nonce_of_the_client_breaks_the_prefix(run: Run) -> None:
    assert figure(run, "stubs", "saved_ratio") > 0.2
    assert figure(run, "stubs", "expected_hit_rate") > figure(run, "untouched", "expected_hit_rate") + 0.2
    assert (run.turns["expected_tokens"] <= run.turns["ideal_tokens"]).all()
    parts = run.turns[["tokens_system", "tokens_tools", "tokens_messages", "tokens_overhead"]].sum(axis=1)
    assert (parts == run.turns["rendered_tokens"]).all()
    deep = run.by_depth()
    assert set(deep["variant"]) == {"stubs"}
    assert deep["saved_ratio"].gt(0).all()


def test_tables_fit_each_other(run: Run) -> None:
    compared = run.compare()
    assert set(compared["variant"]) == {"stubs"}
    assert len(compared) == len(run.turns) / 2
    assert not compared["fidelity_difference"].dropna().any()
    assert list(run.pareto()["dominated"]) == [True, False]
    calls = run.tool_calls.merge(run.turns, on=["variant", "repeat", "lane", "turn", "session"], validate="many_to_one")
    assert len(calls) == run.turns["candidate_calls"].sum()
    assert run.summary()["insufficient"].all(), "two sessions decide nothing"


def test_the_order_is_drawn_and_the_figures_are_not(traces: Traces, run: Run) -> None:
    again = lab.replay(traces, [UNTOUCHED, STUBS], progress=False, seed=4)
    pd.testing.assert_frame_equal(figures(again), figures(run), check_exact=True)


def test_shards_together_are_the_whole(traces: Traces, run: Run, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    for number, folder in enumerate(folders, 1):
        lab.replay(traces, [UNTOUCHED, STUBS], progress=False, shard=(number, 3), out=folder)
    whole = Run(*combine(folders))
    pd.testing.assert_frame_equal(figures(whole), figures(run), check_exact=True)


def test_a_shard_that_no_session_falls_into_is_a_run_without_turns(traces: Traces) -> None:
    run = lab.replay(traces, [UNTOUCHED, STUBS], progress=False, shard=(1, 1_000_000))
    assert list(run.summary()["n_turns"]) == [0, 0]
    assert not len(run.compare()) and not len(run.by_depth()) and "0 turns" in run._repr_html_()
    (check,) = gate.checks(run, [gate.parse_limit("fidelity=0", "under")])
    assert not check.passed


def test_a_stopped_run_is_taken_up_where_it_was(traces: Traces, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "results"
    lab.replay(traces, [UNTOUCHED, STUBS], progress=False, out=out)
    lines = (out / "cells.jsonl").read_bytes().splitlines(keepends=True)
    (out / "cells.jsonl").write_bytes(b"".join(lines[:-3]) + lines[-3][:50])
    told: list[tuple[int, int, float | None]] = []
    again = lab.replay(traces, [UNTOUCHED, STUBS], progress=lambda *now: told.append(now), out=out)
    pd.testing.assert_frame_equal(figures(again), figures(run), check_exact=True)
    assert len((out / "cells.jsonl").read_bytes().splitlines()) < 2 * len(lines)
    assert told[-1][:2] == (len(lines), len(lines))
    loaded = lab.load_run(out)
    assert len(loaded.complaints) == 1
    pd.testing.assert_frame_equal(figures(loaded), figures(run), check_exact=True)
    with pytest.raises(SettingsError, match="other variants"):
        lab.replay(traces, [UNTOUCHED], progress=False, out=out)


def test_what_is_stopped_keeps_what_is_whole_and_goes_on(traces: Traces, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "results"

    def interrupt(done: int, total: int, left_s: float | None) -> None:
        if done == len(run.cells) - 2:
            signal.raise_signal(signal.SIGINT)  # as Ctrl-C does

    with pytest.raises(KeyboardInterrupt):
        lab.replay(traces, [UNTOUCHED, STUBS], progress=interrupt, out=out)
    kept = lab.load_run(out)
    assert 0 < len(kept.cells) < len(run.cells)
    assert kept.turns.groupby(["variant", "session"], observed=True).size().isin([5, 12]).all(), "whole sessions"
    again = lab.replay(traces, [UNTOUCHED, STUBS], progress=False, out=out)
    pd.testing.assert_frame_equal(figures(again), figures(run), check_exact=True)


def test_turns_come_when_they_were_recorded(tmp_path: Path) -> None:
    """Not sooner; and how much later is told."""
    spread = changed(tmp_path / "spread", lambda _, message: message, every_s=0.1)
    began = time.monotonic()
    lags = lab.replay(spread, [UNTOUCHED], progress=False, pace="recorded").turns["schedule_lag_s"]
    assert time.monotonic() - began >= 0.4, "the fifth turn"
    assert lags.notna().all()
    at_once = changed(tmp_path / "at once", lambda _, message: message, every_s=0.0)
    late = lab.replay(at_once, [UNTOUCHED], progress=False, pace="recorded").turns["schedule_lag_s"]
    assert late.is_monotonic_increasing and late.iloc[-1] > 0
    assert lab.replay(at_once, [UNTOUCHED], progress=False).turns["schedule_lag_s"].isna().all()


async def test_it_works_where_a_loop_runs(traces: Traces, run: Run) -> None:
    awaited = await lab.replay_async(traces, [UNTOUCHED], progress=False, turns_per_session=1)
    assert len(awaited.turns) == 2
    blocking = await asyncio.to_thread(lab.replay, traces, [UNTOUCHED], progress=False, turns_per_session=1)
    assert len(lab.replay(traces, [UNTOUCHED], progress=False, turns_per_session=1).turns) == len(blocking.turns)


def test_a_saved_run_comes_back(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(figures(lab.load_run(tmp_path / "saved")), figures(run), check_exact=True)
    with pytest.raises(SettingsError, match="already"):
        run.save(tmp_path / "saved")
    with pytest.raises(SettingsError, match="no results"):
        lab.load_run(tmp_path)


def changed(folder: Path, edit: Any, every_s: float = 1.0) -> Traces:
    """The short session with its answers changed by `edit(number, message)`; None leaves out the answer."""
    trace = read_trace(BUNDLED / "short-fix.jsonl")
    encoder = Encoder(Redaction(b"k"))
    data = encoder.start()
    for number, exchange in enumerate(trace.in_order()):
        message: dict[str, Any] = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "stop_sequence": None,
        }
        message |= {"content": read_answer(exchange.pieces).blocks(), "stop_reason": "end_turn", "usage": {}}
        edited = edit(number, message)
        answer = b"".join(event.encode() for event in unfold(edited)) if edited else b""
        facts = {"lane": exchange.lane, "request_id": str(number)}
        entry = Entry("s", facts, 200, exchange.body.encode(), Recording(every_s * number, [(0.1, answer)]))
        data += encoder.lines(entry)[0]
    folder.mkdir()
    (folder / "t.jsonl").write_bytes(data)
    found: Traces = lab.load(folder)
    return found


def test_turns_that_cannot_be_asked_are_left_out(tmp_path: Path) -> None:
    traces = changed(tmp_path / "a", lambda number, message: message if number else None)
    assert len(lab.replay(traces, [UNTOUCHED], progress=False).turns) == len(traces.turns) - 1
    nothing = changed(tmp_path / "b", lambda number, message: None)
    with pytest.raises(SettingsError, match="nothing to replay"):
        lab.replay(nothing, [UNTOUCHED], progress=False)


def test_tools_that_no_request_defines_are_named_and_not_held_against_anybody(tmp_path: Path) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "go"}]}
    call = {"type": "tool_use", "id": "toolu_1", "name": "Lost", "input": {"a": 1}}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [call], "usage": {}}
    answer = b"".join(event.encode() for event in unfold(message | {"stop_reason": "tool_use", "stop_sequence": None}))
    encoder = Encoder(Redaction(b"k"))
    entry = Entry("s", {"lane": "s/1", "request_id": "1"}, 200, orjson.dumps(body), Recording(0.0, [(0.1, answer)]))
    (tmp_path / "t.jsonl").write_bytes(encoder.start() + encoder.lines(entry)[0])
    traces = lab.load(tmp_path)
    assert "t.jsonl, line " in traces.complaints[0] and "Lost" in traces.complaints[0]
    assert list(lab.replay(traces, [UNTOUCHED], progress=False).turns["fidelity"]) == [1.0]


def test_shapes_are_not_replayed(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(scrubbed(read_trace(BUNDLED / "short-fix.jsonl"), "shape"))
    with pytest.raises(SettingsError, match="counted, not replayed"):
        lab.replay(lab.load(tmp_path), [UNTOUCHED], progress=False)


def test_a_server_that_is_gone_is_a_row_with_an_error(traces: Traces) -> None:
    run = lab.replay(
        traces, [lab.variant("gone", backend="mlx=http://127.0.0.1:9/v1")], progress=False, turns_per_session=1
    )
    assert run.turns["error"].notna().all()
    assert run.summary()["n_errors"].iloc[0] == 2
    assert pd.isna(run.summary()["fidelity"].iloc[0])
    assert report.written(report.short(run), "table")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backend": "ollama"}, "mlx=URL"),
        ({"backend": "mlx"}, "mlx=URL"),
        ({"backend": "embedded=x"}, "no backend"),
        ({"backend": "scripted", "tier": "huge"}, "aggressive"),
        ({"backend": "scripted", "adapter": "gpt"}, "qwen"),
        ({"backend": "scripted", "temprature": 1}, "temperature"),
    ],
)
def test_a_wrong_variant_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        lab.variant("x", **changes)


@pytest.mark.parametrize(
    ("environment", "backend", "tier"),
    [
        ({}, "embedded", "aggressive"),
        ({"LOCAL_URL": "http://127.0.0.1:9/v1"}, "mlx=http://127.0.0.1:9/v1", "aggressive"),
        ({"ANYCLAUDE_MODE": "openrouter", "OPENROUTER_MODEL": "a/b"}, "openrouter=a/b", "off"),
        ({"ANYCLAUDE_MODE": "claude"}, "claude=claude-sonnet-4-5", "off"),
        ({"ANYCLAUDE_MODE": "mlx-cluster", "MLX_CLUSTER_NODES": '[{"id":"a","url":"http://127.0.0.1:9"}]'}, None, None),
    ],
)
def test_a_variant_is_what_the_proxy_would_do_here(
    environment: dict[str, str], backend: str | None, tier: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)} | environment)
    monkeypatch.chdir(tmp_path)
    if backend is None:
        with pytest.raises(SettingsError, match="one server at a time"):
            lab.variant.from_settings()
        return
    found = lab.variant.from_settings()
    assert (found.backend, found.tier) == (backend, tier)
    assert found.stub_tools is False
    assert found.stabilise is (None if found.kind == "claude" else True)


def test_variants_need_names_of_their_own(traces: Traces) -> None:
    with pytest.raises(SettingsError, match="name of its own"):
        lab.replay(traces, [UNTOUCHED, UNTOUCHED], progress=False)


def test_the_gate_judges_counts_and_ratios_and_misses_nothing(run: Run) -> None:
    limits = [gate.parse_limit("fidelity=0.9", "under"), gate.parse_limit("saved_ratio=0.9", "under")]
    found = gate.checks(run, limits)
    assert [(check.variant, check.passed) for check in found] == [("stubs", True), ("stubs", False)]
    assert b'failures="1"' in gate.junit(found)
    missing = gate.Check("x", limits[0], None)
    assert not missing.passed
    assert "missing" in str(missing)
    for text, side in (("ttft_median_s=1", "over"), ("fidelity", "under"), ("fidelity=high", "under")):
        with pytest.raises(SettingsError):
            gate.parse_limit(text, side)  # type: ignore[arg-type]  # both sides are known
    with pytest.raises(SettingsError, match="no figure"):
        gate.checks(run, [gate.parse_limit("beauty=1", "under")])


def test_another_run_is_a_baseline_by_names(run: Run, traces: Traces) -> None:
    limit = gate.parse_limit("prompt_tokens_ratio=1.01", "over")
    assert all(check.passed for check in gate.checks(run, [limit], baseline=run))
    worse = Run(run.head, [cell | {"prompt_tokens": cell["prompt_tokens"] * 2} for cell in run.cells])
    assert not any(check.passed for check in gate.checks(worse, [limit], baseline=run))
    other = lab.replay(traces, [lab.variant("new", backend="scripted")], progress=False, turns_per_session=1)
    assert [check.found for check in gate.checks(other, [limit], baseline=run)] == [None]


def test_reports_hold_the_figures_and_escape_what_is_not_ours(run: Run, tmp_path: Path) -> None:
    hostile = Run(orjson.loads(orjson.dumps(run.head).replace(b"stubs", b"<b>x|\\u001b")), [
        cell | {"variant": "<b>x|\x1b"} if cell["variant"] == "stubs" else cell for cell in run.cells
    ])  # fmt: skip
    page, table = report.html(hostile), report.written(report.short(hostile), "table")
    assert "<b>x" not in page and "&lt;b&gt;x" in page
    assert "<script" not in page and "http:" not in page and "https:" not in page
    assert "\x1b" not in table
    assert "<b>x" not in hostile._repr_html_() and "<table>" in hostile._repr_html_()
    assert repr(run) == f"<Run: 2 variants, {len(run.cells)} turns, 0 errors>"
    files = report.write(run, tmp_path)
    assert {file.name for file in files} == {"report.html", "summary.md", "summary.csv", "turns.csv", "turns.parquet"}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "turns.parquet"), run.turns)
    assert len(orjson.loads(report.written(run.summary(), "json"))) == 2
    assert report.written(run.summary(), "markdown").count("\n") == 3
    assert "<h2>Cost</h2>" in page and "drawn short" not in page


def test_a_variant_is_held_against_the_answers_of_the_baseline_and_of_itself(traces: Traces) -> None:
    run = lab.replay(traces, [UNTOUCHED, STUBS], progress=False, repeat=2)
    assert run.compare()["agreement"].eq(1.0).all()
    assert run.noise_floor()["self_fidelity"].eq(1.0).all()
    wrong = {"type": "tool_use", "id": "x", "name": "Bash", "input": {"command": "rm -rf /"}}
    cells = [
        cell | ({"answer": [wrong]} if cell["variant"] == "stubs" and cell["repeat"] else {}) for cell in run.cells
    ]
    planted = Run(run.head, cells)
    floor = planted.noise_floor().set_index("variant")["self_fidelity"].to_dict()
    assert floor["untouched"] == 1.0
    assert floor["stubs"] < 0.5
    assert run.pass_hat_k(2)["pass_rate"].eq(1.0).all()
    assert run.pass_hat_k(3)["pass_rate"].isna().all(), "two tries cannot tell"
    assert planted.compare().query("repeat == 1")["agreement"].lt(1.0).all()
    once = lab.replay(traces, [UNTOUCHED], progress=False, turns_per_session=1)
    assert once.noise_floor()["self_fidelity"].isna().all()
