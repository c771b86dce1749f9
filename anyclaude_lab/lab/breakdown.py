"""Tables of a run by rung, by depth, by section, against a service level, and by what a provider would bill for it.

Each takes what `Run` has as tables; `Run` has a method for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.frames import frame
from anyclaude_lab.lab.metrics.cost import break_even_hit_rate, prompt_price
from anyclaude_lab.lab.metrics.fidelity import RUNGS
from anyclaude_lab.lab.metrics.savings import saving
from anyclaude_lab.lab.metrics.statistics import bootstrap_mean, bootstrap_ratio
from anyclaude_lab.lab.prices import Prices

SECTIONS = ("system", "tools", "messages", "overhead")
SLO = ("ttft_s", "ttft_visible_s", "tt_tool_s", "itl_mean_s", "e2e_s")


def ladder(turns: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """A row for each variant and rung: the share of turns that pass it and all before it, with its 95 % interval.

    Turns where neither side calls a tool pass nothing and are not counted.
    """
    good = turns[turns["error"].isna()]
    good = good[(good["reference_calls"] > 0) | good["triggered"].fillna(False)]
    rows = []
    for name in variants:
        mine = good[good["variant"] == name]
        failed, sessions = mine["failed_rung"].fillna(len(RUNGS)).astype(int), list(mine["session"])
        for level, rung in enumerate(RUNGS):
            found = bootstrap_mean([float(at > level) for at in failed], sessions)
            told = {"pass_rate": found.estimate, "pass_low": found.low, "pass_high": found.high}
            place = {"variant": name, "level": level, "rung": rung, "n": found.n}
            rows.append(place | told | {"insufficient": found.insufficient})
    return frame(rows, ("variant", "level", "rung", "n", "pass_rate", "pass_low", "pass_high", "insufficient"))


def by_depth(paired: pd.DataFrame) -> pd.DataFrame:
    """A row for each variant and depth: rendered tokens left out against the baseline. `paired` is `run.compare()`."""
    rows = []
    for (name, depth), part in paired.groupby(["variant", "depth"], observed=True):
        told = _saved(part, "rendered_tokens_baseline", "rendered_tokens")
        rows.append({"variant": name, "depth": depth, "n": len(part)} | told)
    return frame(rows, ("variant", "depth", "n", *_SAVED))


def by_section(paired: pd.DataFrame) -> pd.DataFrame:
    """A row for each variant and section of the prompt: tokens left out of it against the baseline's same section.

    `saved_ratio` is of the section, `prompt_ratio` of the whole prompt: these add up. Overhead is what the template
    adds around the sections; it can be small, and below zero where tokens join at their borders.
    """
    rows = []
    for name, part in paired.groupby("variant", observed=True, sort=False):
        whole = part["rendered_tokens_baseline"].sum()
        for section in SECTIONS:
            told = _saved(part, f"tokens_{section}_baseline", f"tokens_{section}")
            of_prompt = told["saved_tokens"] / whole if whole and told["saved_tokens"] is not None else None
            rows.append({"variant": name, "section": section, "n": len(part)} | told | {"prompt_ratio": of_prompt})
    return frame(rows, ("variant", "section", "n", *_SAVED, "prompt_ratio"))


def goodput(turns: pd.DataFrame, variants: Sequence[str], slo: Mapping[str, float]) -> pd.DataFrame:
    """A row for each variant: the share of turns within every limit of `slo`, such as {"ttft_s": 2, "e2e_s": 30}.

    Turns that failed count and do not meet it; turns of which a limited time is unknown are left out and told
    (`n_unknown`). `good_per_s`: turns within the limits by second of answering. Raises SettingsError.
    """
    strangers = sorted(set(slo) - set(SLO))
    if strangers or not slo or not all(limit > 0 for limit in slo.values()):
        about = f'"{strangers[0]}" is no time of a turn' if strangers else "A limit must be a number of seconds above 0"
        raise SettingsError(f"{about}; limits are given for {', '.join(SLO)}.")
    rows = []
    for name in variants:
        mine = turns[turns["variant"] == name]
        failed = mine["error"].notna()
        unknown = mine[list(slo)].isna().any(axis=1) & ~failed
        judged = mine[~unknown]
        met = judged["error"].isna()
        for column, limit in slo.items():
            met &= (judged[column] <= limit).fillna(False).astype(bool)
        found = bootstrap_mean([float(good) for good in met], list(judged["session"]))
        spent_s = judged["e2e_s"].sum()
        rows.append(
            {
                "variant": name,
                "n": len(judged),
                "n_unknown": int(unknown.sum()),
                "goodput_rate": found.estimate,
                "goodput_low": found.low,
                "goodput_high": found.high,
                "good_per_s": float(met.sum() / spent_s) if spent_s else None,
            }
        )
    return frame(rows, slo=dict(slo))


def break_even(paired: pd.DataFrame, prices: Prices, models: Sequence[str]) -> pd.DataFrame:
    """A row for each variant and model: what its prompts would cost there, by the reuse that was seen.

    `break_even_hit_rate`: the reuse below which the shorter prompts cost more than the baseline's. Reuse is the
    reported one where every turn of both reports it, else the expected one (`reuse` says which). Raises SettingsError.
    """
    missing = [model for model in models if prices.of(model) is None]
    if missing:
        raise SettingsError(f'No price is known of "{missing[0]}"; there are: {", ".join(prices.models)}.')
    rows = []
    for name, part in paired.groupby("variant", observed=True, sort=False):
        column = _reuse_column(part)
        known = part.dropna(subset=["rendered_tokens", "rendered_tokens_baseline", column, f"{column}_baseline"])
        if not len(known):
            continue
        before, after = known["rendered_tokens_baseline"].sum(), known["rendered_tokens"].sum()
        saved, hit_before = 1 - after / before, known[f"{column}_baseline"].sum() / before
        hit = known[column].sum() / after
        for model in models:
            price = prices.of(model)
            assert price is not None
            cost, cost_before = (1 - saved) * prompt_price(price, hit), prompt_price(price, hit_before)
            rows.append(
                {
                    "variant": name,
                    "model": model,
                    "n": len(known),
                    "saved_ratio": float(saved),
                    "reuse": "reported" if column == "prompt_tokens_cached" else "expected",
                    "hit_rate_baseline": float(hit_before),
                    "hit_rate": float(hit),
                    "break_even_hit_rate": break_even_hit_rate(price, float(saved), float(hit_before)),
                    "prompt_cost_ratio": float(cost / cost_before) if cost_before else None,
                }
            )
    columns = ("variant", "model", "n", "saved_ratio", "reuse", "hit_rate_baseline", "hit_rate")
    table = frame(rows, (*columns, "break_even_hit_rate", "prompt_cost_ratio"), price_date=prices.date)
    table["pays"] = (table["prompt_cost_ratio"] < 1).astype("boolean")
    return table


def billed(paired: pd.DataFrame) -> tuple[float | None, float | None, float | None]:
    """The share of the baseline's bill that a variant saves, with its 95 % interval; prompts and answers together."""
    known = paired.dropna(subset=["cost_usd", "cost_usd_baseline"])
    costs = [float(value) for value in known["cost_usd"]], [float(value) for value in known["cost_usd_baseline"]]
    found = bootstrap_ratio(*costs, list(known["session"]))
    estimate, high, low = (None if x is None else 1 - x for x in (found.estimate, found.low, found.high))
    return estimate, low, high


_SAVED = ("saved_tokens", "saved_ratio", "saved_low", "saved_high")


def _saved(part: pd.DataFrame, before: str, after: str) -> dict[str, Any]:
    """Tokens left out, and their share; None where no turn is known."""
    known = part.dropna(subset=[before, after])
    if not len(known):
        return dict.fromkeys(_SAVED)
    found = saving([int(n) for n in known[before]], [int(n) for n in known[after]], list(known["session"]))
    ratio = found.saved_ratio
    return dict(zip(_SAVED, (found.saved_tokens, ratio.estimate, ratio.low, ratio.high), strict=True))


def _reuse_column(part: pd.DataFrame) -> str:
    reported = ["prompt_tokens_cached", "prompt_tokens_cached_baseline"]
    return "prompt_tokens_cached" if part[reported].notna().all(axis=None) else "expected_tokens"
