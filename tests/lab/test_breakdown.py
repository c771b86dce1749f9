"""Runs by rung, section, service level and bill: figures worked out by hand, on cells written by hand."""

from __future__ import annotations

from typing import Any

import pytest

import anyclaude_lab as lab
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab import pictures, report
from anyclaude_lab.lab.cells import head_of
from anyclaude_lab.lab.metrics.cost import break_even_hit_rate
from anyclaude_lab.lab.run import Run
from anyclaude_lab.wire.events import JsonObject

SONNET = "claude=claude-sonnet-4-5-20250929"  # 3, 3.75, 0.30 and 15 dollars a million


def cell(variant: str, session: str, turn: int, **facts: object) -> JsonObject:
    """A cell of a run; 1,000 prompt tokens, 900 of them cached, 100 of output, one call that came again."""
    base: JsonObject = {
        "key": f"{variant}/{session}/{turn}", "repeat": 0, "session": session, "lane": f"{session}/a", "role": "main",
        "turn": turn, "trigger": "user", "request_id": None, "variant": variant, "backend": SONNET,
        "backend_kind": "claude", "tier": "off", "adapter": "none", "stub_tools": False, "error": None,
        "rendered_tokens": 1000, "tokens_system": 200, "tokens_tools": 600, "tokens_messages": 190,
        "tokens_overhead": 10, "ideal_tokens": 950, "expected_tokens": 920, "prompt_tokens": 1000,
        "prompt_tokens_cached": 900, "output_tokens": 101, "ttft_s": 1.0, "ttft_visible_s": None, "tt_tool_s": 1.0,
        "e2e_s": 3.0, "tokenizer": "test", "reference_calls": 1, "candidate_calls": 1, "matched_calls": 1,
        "named_calls": 1, "invalid_calls": 0, "triggered": True, "arg_value_score": 1.0, "failed_rung": None,
        "failure": None, "fidelity": 1.0, "exact": True, "answer": [], "break": None,
    }  # fmt: skip
    return base | facts


def run_of(*cells: JsonObject) -> Run:
    names = list(dict.fromkeys(each["variant"] for each in cells))
    return Run(head_of([lab.variant(name, backend=SONNET) for name in names], seed=0), cells)


def only(table: Any, **chosen: object) -> dict[str, Any]:
    for column, value in chosen.items():
        table = table[table[column] == value]
    (row,) = table.to_dict("records")
    return dict(row)


SESSIONS = [(session, turn) for session in ("s1", "s2") for turn in range(2)]
PLAIN = [cell("plain", *place) for place in SESSIONS]
HALF: dict[str, Any] = {"rendered_tokens": 500, "prompt_tokens": 500, "tokens_tools": 100}


def test_a_turn_costs_what_its_tokens_cost_and_a_run_what_its_turns_do() -> None:
    run = run_of(*PLAIN)
    expected = (900 * 0.30 + 100 * 3.75 + 101 * 15) / 1e6
    assert list(run.turns["cost_usd"]) == [pytest.approx(expected)] * 4
    assert only(run.summary())["cost_usd"] == pytest.approx(4 * expected)
    assert run.turns.attrs["price_date"] == run.summary().attrs["price_date"] == lab.prices().date


def test_what_nobody_knows_costs_nobody_knows_what() -> None:
    unknown = cell("plain", "s1", 0, prompt_tokens_cached=None)
    local = cell("plain", "s1", 0, backend="embedded", backend_kind="embedded")
    stranger = cell("plain", "s1", 0, backend="openrouter=nobody/knows", backend_kind="openrouter")
    free = cell("plain", "s1", 0, backend="openrouter=qwen/qwen3-coder", prompt_tokens_cached=None)
    for one in (unknown, local, stranger):
        assert run_of(one).turns["cost_usd"].isna().all()
    assert list(run_of(free | {"backend_kind": "openrouter"}).turns["cost_usd"]) == [pytest.approx(0.0002808)]
    half = run_of(PLAIN[0], unknown | {"turn": 1, "key": "x"}).summary()
    assert half["cost_usd"].isna().all()  # a sum of half of the turns is not the bill


def test_a_long_prompt_has_its_own_price() -> None:
    haiku: dict[str, Any] = {"backend": "claude=claude-haiku-5-5", "output_tokens": 0, "prompt_tokens_cached": 0}
    costs = [run_of(cell("plain", "s1", 0, prompt_tokens=n, **haiku)).turns["cost_usd"][0] for n in (100_000, 100_001)]
    assert costs == [pytest.approx(0.0125), pytest.approx(0.0625, rel=1e-4)]


def test_three_savings_are_never_one() -> None:
    shorter = [cell("short", *place, **HALF, prompt_tokens_cached=0) for place in SESSIONS]
    row = only(run_of(*PLAIN, *shorter).summary(), variant="short")
    assert row["saved_ratio"] == 0.5
    assert row["uncached_saved_ratio"] == 1 - 500 / 100  # five times the work
    before, after = 900 * 0.30 + 100 * 3.75 + 101 * 15, 500 * 3.75 + 101 * 15
    assert row["billed_saved_ratio"] == pytest.approx(1 - after / before)
    assert row["billed_saved_ratio"] < 0 < row["saved_ratio"]


def test_a_filter_that_breaks_the_cache_costs_more_than_it_saves() -> None:
    tenth: dict[str, Any] = {"rendered_tokens": 900, "prompt_tokens": 900, "prompt_tokens_cached": 0}
    run = run_of(*PLAIN, *(cell("short", *place, **tenth) for place in SESSIONS))
    row = only(run.break_even("claude-sonnet-4-5"))
    assert (row["saved_ratio"], row["hit_rate_baseline"], row["hit_rate"]) == (pytest.approx(0.1), 0.9, 0.0)
    assert row["prompt_cost_ratio"] == pytest.approx(900 * 3.75 / (900 * 0.30 + 100 * 3.75))
    assert not row["pays"]
    at_break_even = {"prompt_tokens_cached": round(900 * row["break_even_hit_rate"])}
    balanced = run_of(*PLAIN, *(cell("short", *place, **tenth | at_break_even) for place in SESSIONS))
    assert only(balanced.break_even("claude-sonnet-4-5"))["prompt_cost_ratio"] == pytest.approx(1, abs=0.01)
    with pytest.raises(SettingsError, match="claude-opus"):
        run.break_even("gpt-0")


def test_the_example_of_the_documentation_is_right() -> None:
    price = lab.prices().of("claude-sonnet-4-5")
    assert price is not None
    assert break_even_hit_rate(price, saved_ratio=0.10, hit_rate=0.95) == pytest.approx(0.935, abs=0.0005)
    assert break_even_hit_rate(price, saved_ratio=1.0, hit_rate=0.95) is None


def test_reuse_that_is_not_reported_is_the_expected_one() -> None:
    silent = [cell(name, *place, prompt_tokens_cached=None) for name in ("plain", "short") for place in SESSIONS]
    row = only(run_of(*silent).break_even("claude-sonnet-4-5"))
    assert (row["reuse"], row["hit_rate"]) == ("expected", 0.92)


def test_sections_add_up_to_what_the_prompt_lost() -> None:
    run = run_of(*PLAIN, *(cell("short", *place, **HALF) for place in SESSIONS))
    table = run.by_section()
    assert only(table, section="tools")["saved_ratio"] == pytest.approx(5 / 6)
    assert table["prompt_ratio"].sum() == pytest.approx(0.5)
    assert only(run.by_depth(), depth="1") | {"n": 2, "saved_ratio": 0.5} == only(run.by_depth(), depth="1")


def test_the_ladder_counts_who_gets_past_each_rung() -> None:
    fallen = [cell("plain", "s1", turn, failed_rung=rung) for turn, rung in enumerate((None, 2, 4, 4))]
    silent = cell("plain", "s1", 9, reference_calls=0, triggered=False)
    table = run_of(*fallen, silent).ladder()
    assert list(table["pass_rate"]) == [1.0, 1.0, 0.75, 0.75, 0.25, 0.25, 0.25]
    assert set(table["n"]) == {4}
    assert table["pass_low"].isna().all() and table["insufficient"].all()  # one session has no interval


def test_goodput_has_failures_in_its_denominator_and_nothing_that_is_unknown() -> None:
    turns = [
        cell("plain", "s1", 0), cell("plain", "s1", 1, ttft_s=9.0), cell("plain", "s1", 2, error="refused", e2e_s=None),
        cell("plain", "s1", 3, ttft_s=None),
    ]  # fmt: skip
    row = only(run_of(*turns).goodput(ttft_s=2, e2e_s=30))
    assert (row["goodput_rate"], row["n"], row["n_unknown"]) == (pytest.approx(1 / 3), 3, 1)
    assert row["good_per_s"] == pytest.approx(1 / 6)
    with pytest.raises(SettingsError, match="ttft_s"):
        run_of(*turns).goodput(latency=2)


def test_itl_is_the_mean_gap_of_output_tokens() -> None:
    at_once = cell("plain", "s1", 2, e2e_s=1.0)
    run = run_of(cell("plain", "s1", 0), cell("plain", "s1", 1, output_tokens=1), at_once)
    assert run.turns["itl_mean_s"][0] == pytest.approx(2 / 100)
    assert list(run.turns["itl_mean_s"].isna()) == [False, True, True]


def test_speeds_and_what_a_backend_counts_otherwise() -> None:
    turns = run_of(cell("plain", "s1", 0, prompt_tokens=800, rendered_tokens=1000), cell("plain", "s1", 1)).turns
    known = cell("plain", "s1", 0)
    assert turns["usage_discrepancy_ratio"][0] == pytest.approx(200 / 800)
    assert turns["decode_tps"][1] == pytest.approx((known["output_tokens"] - 1) / (known["e2e_s"] - known["ttft_s"]))
    uncached = known["prompt_tokens"] - known["prompt_tokens_cached"]
    assert turns["prefill_tps"][1] == pytest.approx(uncached / known["ttft_s"])


def test_every_table_of_a_run_says_what_it_rests_on() -> None:
    run = run_of(cell("plain", "s1", 0, tokenizer="t"), cell("short", "s1", 0, tokenizer="t"))
    for table in (run.turns, run.summary(), run.compare()):
        assert table.attrs["tokenizer"] == "t" and {"metrics_version", "made_by", "price_date"} <= table.attrs.keys()
    for column in ("variant", "backend", "backend_kind", "tier", "adapter"):
        assert run.turns[column].cat.ordered


def test_prices_are_dated_and_a_file_goes_before_them(tmp_path: Any) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('date = "2030-01-01"\n[models."claude-sonnet-4-5"]\ninput = 1\noutput = 0\n')
    run = run_of(*PLAIN).priced(file)
    assert list(run.turns["cost_usd"]) == [pytest.approx(0.001)] * 4
    assert run.turns.attrs["price_date"].startswith("2030-01-01")
    assert lab.prices(file).of("claude-opus-4-1") == lab.prices().of("claude-opus-4-1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date = ", "not TOML"),
        pytest.param("a = " + "[" * 100_000, "not TOML", id="deep"),
        pytest.param('date = "x"\n[models.a]\ninput = ' + "9" * 5000, "not TOML", id="a long number"),
        pytest.param(
            'date = "x"\n[models.a]\ninput = 1\noutput = 1\n[models.a.over_prompt_tokens.' + "9" * 5000 + "]",
            "number",
            id="a long number as a name",
        ),
        ('date = "x"', "models"),
        ('date = "x"\n[models.a]\ninput = 1', "input and output"),
        ('date = "x"\n[models.a]\ninput = -1\noutput = 1', "input and output"),
        ('date = "x"\n[models.a]\ninput = 1\noutput = 1\ncached = 1', '"cached" is no price'),
        ('date = "x"\n[models.a]\ninput = 1\noutput = 1\n[models.a.over_prompt_tokens.many]\ninput = 1', "number"),
    ],
)
def test_a_wrong_price_table_is_one_sentence(text: str, said: str, tmp_path: Any) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        lab.prices(file)


@pytest.mark.parametrize(
    "name",
    ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5[1m]"],
)
def test_a_model_has_one_price_by_all_of_its_names(name: str) -> None:
    assert lab.prices().of(name) == lab.prices().of("claude-sonnet-4-5") is not None
    assert lab.prices().of("claude-3-5-haiku-20241022") == lab.prices().of("claude-haiku-3-5") is not None


def test_every_price_of_the_package_is_plausible() -> None:
    table = lab.prices()
    for model, bands in table.models.items():
        for _, price in bands:
            assert 0 < price.cache_read <= price.input <= price.cache_write <= price.output, model


def test_pictures_and_report_of_a_run_whose_half_is_unknown() -> None:
    nothing = [
        cell("gone", *place, error="refused", rendered_tokens=None, expected_tokens=None, ideal_tokens=None,
             ttft_s=None, prompt_tokens=None, prompt_tokens_cached=None, fidelity=None, tokens_tools=None,
             tokens_system=None, tokens_messages=None, tokens_overhead=None, output_tokens=None,
             e2e_s=None, triggered=None)
        for place in SESSIONS
    ]  # fmt: skip
    run = run_of(*PLAIN, *nothing)
    page = report.html(run)
    assert "unknown, not drawn" in page and "– unknown" in page  # noqa: RUF001  the dash, as in print
    assert "main" in pictures.session(run, "s1")
