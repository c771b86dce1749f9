"""Plots say what the tables say, the same picture every time; and what cannot be drawn is told."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from tests.trace.record_sessions import BUNDLED

PNG = b"\x89PNG\r\n"
Draw = Callable[[Any], Any]


@pytest.fixture(scope="module")
def run() -> Any:
    plain = lab.variant("as sent", backend="scripted", strip_billing=False, stabilise=False)
    short = lab.variant("stubs", backend="scripted", stub_tools=True)
    return lab.replay(lab.load(BUNDLED / "short-fix.jsonl"), [plain, short], progress=False)


@pytest.fixture(scope="module")
def ablated() -> Any:
    traces = lab.load(BUNDLED / "short-fix.jsonl")
    return lab.stub_ablation(traces, backend="scripted", progress=False)


def _shared(run: Any) -> Any:
    exchanges = next(lab.load(BUNDLED / "broken-prefix.jsonl").traces()).in_order()
    arms = [lab.variant("as sent", backend="scripted", strip_billing=False, stabilise=False)]
    return lab.shared_heads(exchanges[:3], [*arms, lab.variant("steady", backend="scripted")])


OF_A_RUN: dict[str, Draw] = {
    "sections": lambda run: lab.plots.sections(run),
    "depth": lambda run: lab.plots.depth(run),
    "reuse": lambda run: lab.plots.reuse(run),
    "ttft": lambda run: lab.plots.ttft(run),
    "ladder": lambda run: lab.plots.ladder(run),
    "pareto": lambda run: lab.plots.pareto(run),
    "shared_head": lambda run: lab.plots.shared_head(_shared(run)),
}


@pytest.mark.parametrize("draw", OF_A_RUN.values(), ids=OF_A_RUN)
def test_a_plot_says_its_finding_and_n_and_is_the_same_every_time(run: Any, draw: Draw) -> None:
    plot, again = draw(run), draw(run)
    assert re.fullmatch(r"<Plot: .*\d.* \(.*n = \d+ .*\)>", repr(plot))
    assert plot._repr_png_().startswith(PNG)
    assert plot._repr_png_() == again._repr_png_()
    for axes in plot.axes:
        assert axes.get_xlabel() or axes.get_ylabel()


def test_titles_hold_the_figures_of_the_tables(run: Any) -> None:
    means = run.turns.groupby("variant", observed=True)["rendered_tokens"].mean()
    assert f"stubs leaves {means['stubs']:,.0f} of {means['as sent']:,.0f} tokens" in repr(lab.plots.sections(run))
    depths = run.by_depth().set_index("depth")["saved_ratio"]
    assert f"saves {depths['1']:.0%} of a first prompt, {depths['2-5']:.0%} of" in repr(lab.plots.depth(run))
    reused = run.summary().set_index("variant").loc["stubs", "reported_hit_rate"]
    assert repr(lab.plots.reuse(run)).split(" (")[0].endswith(f"{reused:.0%} was")
    sums = _shared(run).groupby("variant")[["shared_tokens", "prompt_tokens"]].sum()
    share = {name: row["shared_tokens"] / row["prompt_tokens"] for name, row in sums.iterrows()}
    assert share["as sent"] < 0.05 < share["steady"]
    assert f"{share['steady']:.0%} is in the cache already" in repr(lab.plots.shared_head(_shared(run)))


def test_one_request_explained_in_several_ways_is_drawn_as_well(run: Any) -> None:
    turn = next(lab.load(BUNDLED / "short-fix.jsonl").traces()).in_order()[0]
    told = [lab.explain(turn, lab.variant(str(on), backend="scripted", stub_tools=on)) for on in (False, True)]
    assert f"{told[1].prompt_tokens:,} of {told[0].prompt_tokens:,} tokens" in repr(lab.plots.sections(told))


def test_each_tools_stub_is_priced_alone_and_judged_by_the_schema_of_the_client(ablated: pd.DataFrame) -> None:
    assert (ablated["saved_tokens"] > 0).all()
    assert list(ablated["saved_tokens"]) == sorted(ablated["saved_tokens"], reverse=True)
    recorded = lab.load(BUNDLED / "short-fix.jsonl").tool_calls
    assert ablated["calls_full"].sum() == ablated["valid_calls_full"].sum() == len(recorded)
    harmed = ablated.assign(valid_calls_stubbed=0)
    assert f"and 0 of {len(recorded)} calls no longer fit" in repr(lab.plots.stubs(ablated))
    assert f"and {len(recorded)} of {len(recorded)} calls no longer fit" in repr(lab.plots.stubs(harmed))


def test_a_name_is_a_word_and_no_formula(ablated: pd.DataFrame, tmp_path: Path) -> None:
    plot = lab.plots.stubs(ablated.assign(tool=[rf"$\frac{{{place}$ <&" for place in range(len(ablated))]))
    plot.save(str(tmp_path / "stubs.svg"))
    assert plot._repr_png_().startswith(PNG)


@pytest.mark.parametrize(
    ("draw", "why"),
    [
        (lambda run: lab.plots.sections([]), "at least one explanation"),
        (lambda run: lab.plots.reuse(run, session="nobody"), "no rendered prompt of session nobody"),
        (lambda run: lab.plots.ttft(run, variant="nobody"), "No turn has a time in both as sent and nobody"),
        (lambda run: lab.plots.depth(run, baseline="nobody"), '"nobody" is no variant'),
        (lambda run: lab.shared_heads([], []), "at least two"),
    ],
)
def test_what_cannot_be_drawn_is_told(run: Any, draw: Draw, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        draw(run)


def test_without_matplotlib_the_extra_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SettingsError, match=r"pip install 'anyclaude-lab\[notebooks\]'"):
        lab.plots.ladder(run)


def test_a_plot_is_written_where_one_likes(run: Any, tmp_path: Path) -> None:
    lab.plots.pareto(run).save(str(tmp_path / "front.svg"))
    assert "<svg" in (tmp_path / "front.svg").read_text()
