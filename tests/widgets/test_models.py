"""What widgets show, without any widget: the figures are the lab's, and nothing recorded becomes markup."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.frames import records
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.together import together
from anyclaude_lab.lab.trial import UNTOUCHED, fates, pair, trial
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.prompt.sections import Sections
from anyclaude_lab.prompt.tiers import SectionFate
from anyclaude_lab.views.comparison import Comparison
from anyclaude_lab.views.diff import AROUND, lines_apart
from anyclaude_lab.views.pair import Pair, Window
from anyclaude_lab.views.session import Session
from anyclaude_lab.views.trial import Trial
from anyclaude_lab.views.watch import Watch
from anyclaude_lab.wire.request import Request
from tests.views.test_cards import HOSTILE, check
from tests.views.test_html import Seen

SHORT = lab.variant("short", backend="embedded", tier="extreme", stub_tools=True)
LINES = st.lists(st.sampled_from(["a", "b", "c", "<b>", ""]), max_size=30)


def two(traces: Traces, session: str, turn: int) -> tuple[Turn, Turn]:
    found = traces.turn(session, turn=turn)
    assert found.previous is not None
    return found.previous, found


@given(LINES, LINES)
def test_a_difference_tells_every_line_of_both_texts_once(old: list[str], new: list[str]) -> None:
    before, after = "\n".join(old), "\n".join(new)
    told = lines_apart(before, after)
    assert bool(told) == (before.splitlines() != after.splitlines())
    kinds = [line.kind for line in told]
    stayed = kinds.count("same") + sum(int(line.text.split()[0]) for line in told if line.kind == "skipped")
    if told:
        assert stayed + kinds.count("gone") == len(before.splitlines())
        assert stayed + kinds.count("new") == len(after.splitlines())


def test_what_stayed_is_left_out_but_for_its_ends() -> None:
    many = [str(number) for number in range(20)]
    told = lines_apart("\n".join(many), "\n".join([*many[:10], "x", *many[10:]]))
    assert [line.text for line in told if line.kind == "same"] == ["8", "9", "10", "11"]
    assert [line.text for line in told if line.kind == "skipped"] == [f"{n} lines as before" for n in (8, 8)]
    assert AROUND == 2


def test_a_trial_has_the_figures_of_an_explanation(traces: Traces) -> None:
    turn = traces.turn("short-fix", turn=2)
    told, short, plain = trial(turn, SHORT), lab.explain(turn, SHORT), lab.explain(turn, UNTOUCHED)
    assert (told.prompt, told.prompt_tokens) == (short.prompt, short.prompt_tokens)
    assert told.plain_tokens is not None and told.plain_tokens == plain.prompt_tokens
    assert (told.before, told.after) == (plain.before, short.after)
    assert told.saved_tokens is not None and told.saved_tokens > 100
    seen = check(told.html())
    assert f"{told.saved_tokens:,}" in seen.text and all(report.why in seen.text for report in told.reports)


def test_what_a_turn_reuses_is_what_a_replay_expects(traces: Traces) -> None:
    before, turn = two(traces, "short-fix", 2)
    scripted = lab.variant("s", backend="scripted", tier="extreme", stub_tools=True)
    cells = lab.replay([before, turn], [scripted], progress=False).cells
    told = trial(turn, SHORT)
    assert told.prompt_tokens is not None and told.reused_tokens is not None
    nonce = cells[-1]["rendered_tokens"] - told.prompt_tokens
    assert 0 < nonce < 20
    assert cells[-1]["expected_tokens"] == told.reused_tokens + nonce
    assert trial(traces.turn("short-fix"), SHORT).reused_tokens is None


def kept_at(tier: str, request: Request) -> dict[str, bool]:
    return {fate.title: fate.kept for fate in fates(request, lab.variant("v", backend="embedded", tier=tier))}


def test_sections_of_the_system_text_are_kept_or_dropped_by_the_tier() -> None:
    text = "You mend.\n\n# Help\n/help: Get help with using Claude Code\n\n# Environment\nWorking directory: /srv/mill"
    request = Request({"system": [{"type": "text", "text": text}], "messages": [{"role": "user", "content": "x"}]})
    kept = {tier: kept_at(tier, request) for tier in ("off", "minimal", "moderate", "auto")}
    assert kept["off"]["Help"] and kept["off"]["Environment"]
    assert not kept["minimal"]["Help"] and kept["minimal"]["Environment"]
    assert kept["auto"] == kept["moderate"]  # where no window is known


def test_a_pair_has_the_figures_of_the_table_of_breaks(traces: Traces) -> None:
    plain = lab.variant("plain", backend="scripted", strip_billing=False, stabilise=False)
    row = records(lab.prefix_breaks(traces, plain))[2]
    told = pair(*two(traces, "broken-prefix", int(row["turn"])))
    assert told.broken is not None
    for name in ("cause", "pointer", "tokens_lost", "fixed_tokens"):
        assert told.broken[name] == row[name]
    assert told.shared_tokens == row["break_token"] and told.lost_tokens == row["tokens_lost"]
    seen = check(told.html())
    assert f"breaks at token {told.shared_tokens:,}: {row['cause']}" in seen.text
    assert [name for name, _ in seen.tags].count("mark") == 2
    assert "".join(told.before.tokens[: told.before.at]) == "".join(told.after.tokens[: told.after.at])


def test_a_pair_that_continues_loses_nothing(traces: Traces) -> None:
    told = pair(*two(traces, "short-fix", 3), SHORT)
    assert (told.broken, told.lost_tokens) == (None, 0)
    assert 0 < told.shared_tokens <= told.first_tokens < told.second_tokens
    seen = check(told.html())
    assert "The prompt continues" in seen.text and "mark" not in [name for name, _ in seen.tags]


def test_a_session_has_its_lanes_and_turns(traces: Traces) -> None:
    turns = traces.session_turns("subagents")
    session = Session("x", [turn.facts | {"tools": ["Grep"]} for turn in turns], chosen=3)
    assert list(session.lanes().values()) == ["helper", "main", "subagent 1", "subagent 2"]
    seen = Seen(session.html(live=True))
    buttons = [attributes for name, attributes in seen.tags if name == "button"]
    assert [int(one["data-turn"] or "") for one in buttons] == list(range(len(turns)))
    assert [one["aria-pressed"] for one in buttons].count("true") == 1 and buttons[3]["aria-pressed"] == "true"
    assert "button" not in [name for name, _ in Seen(session.html(live=False)).tags]
    assert sum("data-turn" in attributes for name, attributes in seen.tags if name == "g") == len(turns)


def test_a_comparison_shows_each_variant_with_its_interval(run: Run) -> None:
    seen = Seen(Comparison(records(run.summary()), "plain").html())
    assert "2 variants against plain" in seen.text and "stubs" in seen.text and "insufficient" in seen.text
    row = records(run.summary())[1]
    assert f"{row['ttft_ratio']:.2f}" in seen.text and f"{row['ttft_low']:.2f} to {row['ttft_high']:.2f}" in seen.text
    assert row["ttft_low"] <= row["ttft_ratio"] <= row["ttft_high"]


def test_variants_of_several_runs_keep_their_names_apart(run: Run) -> None:
    both = together([run, run])
    assert both.variants == ["plain", "stubs", "plain (run 2)", "stubs (run 2)"]
    saved = {row["variant"]: row["saved_ratio"] for row in records(both.summary())}
    assert saved["stubs"] == saved["stubs (run 2)"] > saved["plain (run 2)"] == 0
    assert together([run]) is run
    with pytest.raises(SettingsError, match="nothing to compare"):
        together([])


def test_what_is_hostile_stays_text_in_every_view() -> None:
    sections, fate = Sections(1, 2, 3), SectionFate(HOSTILE, False, HOSTILE, 3)
    tried = Trial(HOSTILE, HOSTILE, sections, sections, (), [fate], "a", 1, f"b {HOSTILE}", 1, 1)
    cell = {"answer": [{"type": "text", "text": HOSTILE}, {"type": "tool_use", "name": HOSTILE, "input": {}}]}
    broken = dict.fromkeys(("cause", "pointer", "fixed_by", "transform_blamed"), HOSTILE) | {"tokens_lost": 1}
    window = Window([HOSTILE, HOSTILE], 1)
    turn: dict[str, Any] = {"turn": 0, "started_s": 0.0, "e2e_s": 1, "tools": [HOSTILE]}
    turn |= dict.fromkeys(("lane", "role", "error"), HOSTILE)
    pages = [
        tried.html(cell),
        tried.html({"error": HOSTILE}),
        Pair(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 2, 2, 1, broken, window, window).html(),
        Session(HOSTILE, [turn]).html(live=True),
        Comparison([summary_row(HOSTILE), summary_row("b")], HOSTILE).html(),
    ]
    for page in pages:
        assert check(page, "button").text.count(HOSTILE) >= 2


def summary_row(name: str) -> dict[str, Any]:
    unknown = dict.fromkeys(("fidelity", "fidelity_low", "fidelity_high"))
    return {"variant": name, "n_turns": 1, "insufficient": True, "verdict": name, **unknown}


def test_a_watched_proxy_shows_what_the_feed_tells() -> None:
    watch = Watch("http://127.0.0.1:1", "claude")
    facts = {"id": "1", "lane": "a/b", "model": "m", "at": 1.0}
    watch.see({"kind": "started", **facts})
    watch.see({"kind": "prefill", "id": "1", "done": 50, "total": 200})
    assert "50 of 200 tokens" in Seen(watch.html()).text
    done = {"kind": "finished", **facts, "prompt_tokens": 200, "cached_tokens": 150, "status": 200, "ttft_s": 0.5}
    watch.see({**done, "serial": 1})
    watch.see({"kind": "failed", "id": "2", "status": 400, "error": HOSTILE, "serial": 2})
    seen = Seen(watch.html())
    assert "75 %" in seen.text and "Nothing runs." in seen.text and HOSTILE in seen.text
    assert "script" not in [name for name, _ in seen.tags]
    assert watch.words() == "http://127.0.0.1:1; 1 answered, 1 failed"
