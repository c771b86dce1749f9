"""What notebooks show: facts as they are, and nothing that a trace holds becomes markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.break_table import PrefixBreaks
from anyclaude_lab.lab.frames import records
from anyclaude_lab.lab.load import Traces, load
from anyclaude_lab.views.notebook import ROWS_SHOWN, STYLE, card, table, text
from anyclaude_lab.views.turn import MESSAGES_SHOWN, Exchange
from anyclaude_lab.wire.request import Request
from tests.trace.record_sessions import BUNDLED
from tests.views.test_html import Seen

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)></pre></style>\" onload='x' &amp; http://a.example/"
ALLOWED = {
    "b", "br", "code", "dd", "details", "div", "dl", "dt", "li", "p", "path", "pre", "rect", "small", "span", "style",
    "summary", "svg", "table", "tbody", "td", "th", "thead", "tr", "ul", "del", "ins", "mark",
    "circle", "figcaption", "figure", "g", "line", "text", "title",
}  # fmt: skip


@pytest.fixture(scope="module")
def traces() -> Traces:
    return load(BUNDLED)


def check(page: str, *also: str) -> Seen:
    """Only our elements, no handler, nothing loaded, no id that could meet another one."""
    seen = Seen(page.replace(STYLE, ""))
    assert {name for name, _ in seen.tags} <= ALLOWED | {*also}
    names = {name for _, attributes in seen.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href", "id", "style"}
    return seen


def exchange(**facts: Any) -> Exchange:
    known = {
        "turn": 3,
        "lane": HOSTILE,
        "file": HOSTILE,
        "line": 1,
        "role": HOSTILE,
        "model": HOSTILE,
        "error": HOSTILE,
    }
    block = {"type": "text", "text": HOSTILE}
    result = {"type": "tool_result", "tool_use_id": "x", "content": [block, {"type": "image", "source": HOSTILE}]}
    call = {"type": "tool_use", "id": "x", "name": HOSTILE, "input": {HOSTILE: HOSTILE}}
    odd = {"type": HOSTILE, HOSTILE: [HOSTILE]}
    messages = [{"role": "user", "content": HOSTILE}, {"role": HOSTILE, "content": [block, call, result, odd]}]
    tools = [{"name": HOSTILE, "description": HOSTILE, "input_schema": {"x": HOSTILE}}]
    request = Request({"system": [block], "tools": tools, "messages": messages})
    return Exchange(known | facts, request, HOSTILE, HOSTILE, [(HOSTILE, HOSTILE)])


def test_a_turn_shows_hostile_text_as_text_in_every_place() -> None:
    seen = check(exchange().html())
    assert seen.text.count(HOSTILE) >= 12


def test_tables_show_hostile_text_as_text(traces: Traces) -> None:
    facts = dict.fromkeys(("session", "file", "models", "cause", "pointer", "before", "after", "fixed_by"), HOSTILE)
    spoiled = Traces(traces.sources[:1], [HOSTILE])
    spoiled.sessions = spoiled.sessions.assign(session=HOSTILE, file=HOSTILE, models=HOSTILE)
    assert HOSTILE in check(spoiled._repr_html_()).text
    breaks = PrefixBreaks.of([facts | {"turn": 1, "tokens_lost": 3}], ("tokens_lost", "fixed_tokens"), variant=HOSTILE)
    assert check(breaks._repr_html_()).text.count(HOSTILE) >= 6


def test_a_style_has_no_script_no_address_and_touches_only_our_own() -> None:
    assert "</" not in STYLE and "@import" not in STYLE and "url(" not in STYLE and "expression" not in STYLE
    rules = re.sub(r"/\*.*?\*/", "", STYLE, flags=re.DOTALL)
    selectors = [one.strip() for found in re.findall(r"([^{}]+)\{", rules) for one in found.split(",")]
    assert len(selectors) > 50
    assert [one for one in selectors if not re.search(r"(^|\s)\.facts\b|^@(media|container)", one)] == []


def test_traces_are_shown_with_their_figures(traces: Traces) -> None:
    seen = check(traces._repr_html_())
    for row in records(traces.sessions):
        assert row["session"][:8] in seen.text and f"{row['prompt_tokens']:,}" in seen.text
    assert repr(traces) == "<Traces: 6 sessions, 75 turns, 0 complaints>"
    assert "\n" not in repr(traces) and traces._repr_html_() == load(BUNDLED)._repr_html_()


def test_a_turn_is_found_by_session_lane_and_index(traces: Traces) -> None:
    turn = traces.turn("short-fix", turn=1)
    row = traces.turns[traces.turns["file"].str.contains("short-fix")].iloc[1]
    assert turn.facts["request_id"] == row["request_id"]
    assert (turn.facts["prompt_tokens"], len(turn.request.messages)) == (row["prompt_tokens"], row["n_messages"])
    assert turn.previous is not None and turn.previous.previous is None
    assert traces.turn(row["session"][:6], turn=1).key == turn.key
    assert traces.turn("short-fix", turn=-1).facts["turn"] == 4
    helper = traces.turns[traces.turns["role"] == "subagent"].iloc[0]
    found = traces.turn("subagents", lane=helper["lane"].rpartition("/")[2])
    assert (found.facts["lane"], found.facts["turn"]) == (helper["lane"], 0)
    assert traces.turn("subagents").facts["role"] == "main"


@pytest.mark.parametrize(
    ("session", "where", "said"),
    [
        ("nowhere", {}, "is no session"),
        ("", {}, "is no session"),
        ("short-fix", {"lane": "x"}, "is no lane"),
        ("short-fix", {"turn": 5}, "5 turns, from 0"),
        ("short-fix", {"turn": -6}, "5 turns, from 0"),
    ],
)
def test_a_turn_that_is_not_there_is_said_to_be(traces: Traces, session: str, where: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        traces.turn(session, **where)


def test_two_sessions_of_one_beginning_are_both_named(traces: Traces, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_bytes((BUNDLED / "short-fix.jsonl").read_bytes())
    with pytest.raises(SettingsError, match=r"names 2 sessions; there are: 5f0c6a52.*\(one\).*\(two\)"):
        load(tmp_path).turn("5f0c")
    assert load(tmp_path).turn("two").facts["file"].endswith("two.jsonl")


def test_a_recorded_turn_is_shown_with_its_request_and_answer(traces: Traces) -> None:
    turn = traces.turn("subagents")
    seen = check(turn._repr_html_())
    assert turn.answer.calls[0].name in seen.text and turn.answer.calls[0].arguments in seen.text
    assert f"Messages: {len(turn.request.messages)}" in seen.text and f"{turn.facts['prompt_tokens']:,}" in seen.text
    assert repr(turn).startswith("<Turn 0 of c7d3f9a1") and "\n" not in repr(turn)


def test_an_explanation_is_shown_step_by_step(traces: Traces) -> None:
    told = lab.explain(traces.turn("short-fix"), lab.variant("short", backend="scripted", stub_tools=True))
    seen = check(told._repr_html_())
    assert {f"{told.before.total:,}", f"{told.after.total:,}"} <= set(re.findall(r"[\d,]+", seen.text))
    assert all(report.why in seen.text for report in told.reports) and told.prompt is not None
    assert told.prompt in seen.text and repr(told).count("\n") == 0


def test_breaks_are_a_table_with_a_view(traces: Traces) -> None:
    found = lab.prefix_breaks(traces, lab.variant("default", backend="scripted"))
    seen = check(found._repr_html_())
    assert f"{len(found)} breaks, {found['tokens_lost'].sum():,} tokens lost" in seen.text
    assert all(cause in seen.text for cause in found["cause"]) and found.attrs["variant"] == "default"
    assert type(found[found["turn"] > 2]) is not PrefixBreaks and "<table" in found[found["turn"] > 2]._repr_html_()
    assert "every prompt continues" in found.of([], ("tokens_lost",))._repr_html_()


def test_a_great_many_rows_and_a_long_text_are_cut_and_say_so() -> None:
    shown = Seen(table([("n", None)], [[n] for n in range(ROWS_SHOWN + 7)], "many"))
    assert "and 7 more rows" in shown.text and sum(name == "tr" for name, _ in shown.tags) == ROWS_SHOWN + 1
    assert Seen(text("x" * 12, "long", 10)).text == "x" * 10 + "and 2 more characters"
    many = [{"role": "user", "content": str(n)} for n in range(MESSAGES_SHOWN + 3)]
    page = Exchange({"lane": "l"}, Request({"messages": many}))
    assert f"the last {MESSAGES_SHOWN}" in card("t", *page.pieces())
