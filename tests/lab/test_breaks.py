"""Breaks of the prefix: each planted cause is named, placed, and its cure worth the tokens it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import anyclaude_lab as lab
from anyclaude_lab.engine import embedded
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.arms import embedded_renderer
from anyclaude_lab.lab.breaks import Break, Sent, find_break
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.wire.request import Request
from benchmarks.engine.serving import stock
from tests.requirements import require_mlx
from tests.trace.record_sessions import BUNDLED

UNTOUCHED = lab.variant("untouched", backend="scripted", strip_billing=False, stabilise=False)
DEFAULT = lab.variant("default", backend="scripted")
HEAD = "You mend programs.\n" * 30


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return embedded_renderer()


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"Does {name}. " * 20, "input_schema": {"type": "object", "properties": {}}}


BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": HEAD + "Today: 2026-11-20\nFolder: /srv/mill\nRun: a1b2c3d4"}],
    "tools": [tool("Bash"), tool("Edit"), tool("Read")],
    "messages": [{"role": "user", "content": "first"}],
}
NEXT = [{"role": "assistant", "content": "answer"}, {"role": "user", "content": "second"}]


def sent(renderer: Renderer, body: dict[str, Any], plan: Plan) -> Sent:
    request, _, steps = run(Request(body), plan)
    prompt = renderer.prompt(request)
    assert prompt is not None
    return Sent(Request(body), request, steps, prompt)


def broken(renderer: Renderer, *, plan: Plan | None = None, **changes: Any) -> Break | None:
    """The break between a turn and the next one, changed."""
    plan = plan or Plan(spell_canonically=False, order_tools=False, stabilise=False, strip_billing=False)
    after = BODY | {"messages": [*BODY["messages"], *NEXT]} | changes
    return find_break(sent(renderer, BODY, plan), sent(renderer, after, plan), renderer)


def system(old: str, new: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": BODY["system"][0]["text"].replace(old, new)}]


def test_what_only_grows_is_no_break(renderer: Renderer) -> None:
    assert broken(renderer) is None
    assert broken(renderer, plan=Plan()) is None


@pytest.mark.parametrize(
    ("changes", "cause", "pointer"),
    [
        ({"system": system("2026-11-20", "2026-11-21")}, "date", "/system/0/text"),
        ({"system": system("/srv/mill", "/srv/mill/tests")}, "path", "/system/0/text"),
        ({"system": system("a1b2c3d4", "e5f6a7b8")}, "nonce", "/system/0/text"),
        ({"system": system("You mend", "You break")}, "system text", "/system/0/text"),
        ({"tools": [tool("Bash"), tool("Clock"), *BODY["tools"][1:]]}, "tool inserted", "/tools/1"),
        ({"tools": BODY["tools"][1:]}, "tool removed", "/tools/0"),
        ({"tools": BODY["tools"][::-1]}, "tool order", "/tools/0"),
        ({"tools": [*BODY["tools"][:2], tool("Read") | {"description": "x"}]}, "tool definition", "/tools/2"),
        ({"messages": [{"role": "user", "content": "other"}, *NEXT]}, "history rewrite", "/messages/0/content/0"),
    ],
)
def test_a_planted_cause_is_named_and_placed(
    renderer: Renderer, changes: dict[str, Any], cause: str, pointer: str
) -> None:
    found = broken(renderer, **changes)
    assert found is not None
    assert (found.cause, found.pointer, found.transform_blamed) == (cause, pointer, None)
    assert found.fixed_tokens == found.tokens_lost > 0, "with the one cause undone nothing is lost"
    assert found.before != found.after


def test_a_history_that_begins_anew_is_a_compaction(renderer: Renderer) -> None:
    plan = Plan(spell_canonically=False, order_tools=False, stabilise=False)
    long = BODY | {"messages": [*BODY["messages"], *NEXT]}
    short = BODY | {"messages": [{"role": "user", "content": "what happened before"}]}
    found = find_break(sent(renderer, long, plan), sent(renderer, short, plan), renderer)
    assert found is not None
    assert (found.cause, found.section) == ("compaction", "messages")


def test_our_own_work_is_blamed_where_the_client_did_nothing(renderer: Renderer) -> None:
    """The second request is shortened, the first was not: as a tier that changes in mid-session would do."""
    after = BODY | {"messages": [*BODY["messages"], *NEXT]}
    plain, ordered = Plan(order_tools=True), Plan(order_tools=True, tool_allowlist=("Bash",))
    first, second = sent(renderer, BODY, plain), sent(renderer, after, ordered)
    first = sent(renderer, BODY, Plan(order_tools=True, tool_allowlist=("Bash", "Edit", "Read")))
    found = find_break(first, second, renderer)
    assert found is not None
    assert (found.cause, found.transform_blamed) == ("tool removed", "allowlist")


def test_the_bundled_sessions_break_where_they_were_made_to() -> None:
    traces = lab.load(BUNDLED)
    table = lab.prefix_breaks(traces, UNTOUCHED)
    names = dict(zip(traces.sessions["session"], (Path(f).stem for f in traces.sessions["file"]), strict=True))
    causes = {names[s]: set(part["cause"]) for s, part in table.groupby("session")}
    assert causes == {"broken-prefix": {"nonce"}, "long-compaction": {"compaction"}}
    assert len(table[table["cause"] == "nonce"]) == 11, "every turn but the first"
    cured = lab.prefix_breaks(traces, DEFAULT)
    assert set(cured["cause"]) == {"date", "tool inserted", "history rewrite", "path", "compaction"}
    assert cured["tokens_lost"].sum() < 0.4 * table["tokens_lost"].sum()


def test_a_shared_cache_has_to_bear_other_conversations_too() -> None:
    """In the order of arrival; the lanes themselves go on as they should."""
    traces = lab.load(BUNDLED / "subagents.jsonl")
    assert lab.prefix_breaks(traces, UNTOUCHED).empty
    table = lab.prefix_breaks(traces, UNTOUCHED, order="arrival")
    assert set(table["cause"]) == {"other conversation"}
    assert (table["previous_lane"] != table["lane"]).all()
    turns = traces.turns.sort_values("started_s")["lane"]
    assert len(table) == (turns != turns.shift()).sum() - 1, "wherever another lane speaks"
    with pytest.raises(SettingsError, match="arrival"):
        lab.prefix_breaks(traces, UNTOUCHED, order="size")


@pytest.mark.engine
def test_a_cure_is_worth_on_the_real_server_what_was_said() -> None:
    require_mlx()
    from benchmarks.lab.counterfactual import gains

    with stock(embedded.folder()) as server:
        found, gained = next(gains(server, lab.load(BUNDLED / "broken-prefix.jsonl"), UNTOUCHED))
    assert gained == found.fixed_tokens > 2000


def test_the_cure_is_worth_what_it_says() -> None:
    """Told on paper for the nonce, and found again by replaying without it."""
    traces = lab.load(BUNDLED / "broken-prefix.jsonl")
    replayed = lab.replay(traces, [UNTOUCHED, DEFAULT], progress=False)
    told = lab.prefix_breaks(traces, UNTOUCHED)
    turns = replayed.turns.set_index(["variant", "turn"])["expected_tokens"].to_dict()
    only_nonce = told[~told["turn"].isin([2, 4, 8, 10])]  # no other cause behind it
    for row in only_nonce.to_dict("records"):
        gained = turns["default", row["turn"]] - turns["untouched", row["turn"]]
        assert abs(gained - row["fixed_tokens"]) < 60, row  # less the block itself, and the words of the arms
    assert set(replayed.breaks()["cause"]) == {"nonce", "date", "tool inserted", "history rewrite", "path"}
    assert len(replayed.breaks().query("variant == 'untouched'")) == len(told)
