"""What a replay found, as tables: `turns`, `tool_calls`, `summary()`, `compare()`, `pareto()`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab import breakdown
from anyclaude_lab.lab.answers import Answer, Call
from anyclaude_lab.lab.break_table import PrefixBreaks
from anyclaude_lab.lab.cells import add_cells, read_results, write_head
from anyclaude_lab.lab.frames import depth_bucket, frame
from anyclaude_lab.lab.metrics.cost import cost_usd
from anyclaude_lab.lab.metrics.fidelity import judge
from anyclaude_lab.lab.metrics.reuse import cache_efficiency
from anyclaude_lab.lab.metrics.savings import saving
from anyclaude_lab.lab.metrics.statistics import MARGIN, bootstrap_mean, bootstrap_ratio, non_inferior, pass_hat_k
from anyclaude_lab.lab.prices import Prices, prices
from anyclaude_lab.lab.rows import itl_mean_s
from anyclaude_lab.views.figures import plural
from anyclaude_lab.views.html import tag
from anyclaude_lab.views.notebook import card, note
from anyclaude_lab.wire.events import JsonObject

# What a summary says of a variant against the baseline, and not of the baseline itself.
AGAINST = (
    "saved_ratio", "saved_low", "saved_high", "uncached_saved_ratio", "uncached_saved_low", "uncached_saved_high",
    "billed_saved_ratio", "billed_saved_low", "billed_saved_high", "ttft_ratio", "ttft_low", "ttft_high", "agreement",
)  # fmt: skip
PRICED = ("openrouter", "claude")  # backends that bill by token, by the model behind the `=`
TURN = ["session", "lane", "turn", "repeat"]  # what pairs the turns of two variants
WHO = ("variant", "backend", "backend_kind", "tier", "adapter", "stub_tools", "role", "trigger")  # asked, and what
DERIVED = (
    "prompt_tokens_uncached", "usage_discrepancy_ratio", "itl_mean_s", "decode_tps", "prefill_tps", "cost_usd",
)  # fmt: skip
# What a turn that failed before its answer does not have, nor a shard without a session.
SECTIONS = [f"tokens_{section}" for section in breakdown.SECTIONS]
COLUMNS = (
    *WHO, *TURN, "error", "rendered_tokens", "ideal_tokens", "expected_tokens", "prompt_tokens", "prompt_tokens_cached",
    "output_tokens", "ttft_s", "ttft_visible_s", "tt_tool_s", "tt_tool_complete_s", "e2e_s", "stream_close_s",
    *SECTIONS, "reference_calls", "candidate_calls", "matched_calls", "named_calls", "invalid_calls", "triggered",
    "arg_value_score", "failed_rung", "failure", "fidelity", "exact", "tokenizer", "schedule_lag_s", "depth", *DERIVED,
)  # fmt: skip


class Run:
    """The cells of a replay. The first variant is the baseline unless another is named."""

    def __init__(
        self,
        head: JsonObject,
        cells: Sequence[JsonObject],
        complaints: Sequence[str] = (),
        price_table: Prices | None = None,
    ) -> None:
        self.head, self.cells, self.complaints = head, list(cells), list(complaints)
        self.prices = price_table or prices()

    def priced(self, path: str | Path) -> Run:
        """The same run by the prices of a file, see `lab.prices`. Raises SettingsError."""
        return Run(self.head, self.cells, self.complaints, prices(path))

    @property
    def variants(self) -> list[str]:
        """Names, in the order they were given."""
        return [variant["name"] for variant in self.head["variants"]]

    def __repr__(self) -> str:
        return f"<Run: {self._said()}>"

    def _said(self) -> str:
        errors = sum(bool(cell.get("error")) for cell in self.cells)
        counts = (len(self.variants), "variant"), (len(self.cells), "turn"), (errors, "error")
        return ", ".join(plural(count, word) for count, word in counts)

    def _repr_html_(self) -> str:
        from anyclaude_lab.lab.report import html_table, notes, short

        figures = tag("div", html_table(short(self)), class_="figures")
        return card(self._said(), figures, *map(note, notes(self)))

    @cached_property
    def turns(self) -> pd.DataFrame:
        """A row for each variant, repeat and turn."""
        rows = [
            {k: v for k, v in cell.items() if k not in ("answer", "break")} | self._derived(cell) for cell in self.cells
        ]
        about = {name: self.head.get(name) for name in ("seed", "cache_policy")}
        table = frame(rows, COLUMNS, price_date=self.prices.date, **about)
        table.attrs["tokenizer"] = ", ".join(sorted(set(table["tokenizer"].dropna()))) or None
        for column, of in (("variant", "name"), ("backend", "backend")):
            known = list(dict.fromkeys([*(variant[of] for variant in self.head["variants"]), *table[column]]))
            table[column] = pd.Categorical(table[column], categories=known, ordered=True)
        return table

    @cached_property
    def tool_calls(self) -> pd.DataFrame:
        """A row for each call that a variant made."""
        rows = []
        for cell in self.cells:
            calls = [block for block in cell.get("answer") or () if block["type"] == "tool_use"]
            for number, call in enumerate(calls):
                ids = {name: cell[name] for name in ("variant", *TURN)}
                told = {"call": number, "tool": call["name"], "arguments": orjson.dumps(call["input"]).decode()}
                rows.append(ids | told)
        return frame(rows, ("variant", *TURN, "call", "tool", "arguments"))

    def summary(self, baseline: str | None = None) -> pd.DataFrame:
        """A row for each variant. Intervals are 95%, by session; `insufficient` says that they decide nothing."""
        against = self._baseline(baseline)
        rows = [self._summary_row(name, against) for name in self.variants]
        table = frame(rows)
        table.attrs = self.turns.attrs | {"baseline": against, "margin": MARGIN}
        return table

    def compare(self, baseline: str | Run | None = None) -> pd.DataFrame:
        """Paired by turn: what every other variant saves, how much faster it is, and how its fidelity differs.

        `agreement` judges a variant against the baseline's own answers, which is what a filter is to be judged by.
        """
        other = baseline if isinstance(baseline, Run) else self
        against = other.variants[0] if isinstance(baseline, Run) else self._baseline(baseline)
        base = other.turns[other.turns["variant"] == against]
        said = {_turn_of(cell): cell for cell in other.cells if cell["variant"] == against}
        mine_said = {(cell["variant"], *_turn_of(cell)): cell for cell in self.cells}
        columns = [
            "rendered_tokens", "prompt_tokens_uncached", "prompt_tokens_cached", "expected_tokens", *SECTIONS,
            "cost_usd", "ttft_s", "e2e_s", "fidelity", "failure",
        ]  # fmt: skip
        tables = []
        for name in self.variants:
            if other is self and name == against:
                continue
            mine = self.turns[self.turns["variant"] == name]
            named = mine[[*TURN, "depth", "role", *columns]]
            paired = named.merge(base[[*TURN, *columns]], on=TURN, suffixes=("", "_baseline"))
            paired.insert(0, "variant", name)
            turns = list(paired[TURN].itertuples(index=False, name=None))
            paired["agreement"] = pd.array([_agreement(said[t], mine_said[name, *t]) for t in turns], dtype="Float64")
            tables.append(paired)
        if not tables:
            raise SettingsError("There is nothing to compare: give more than one variant, or another run.")
        table = pd.concat(tables, ignore_index=True)
        table["saved_tokens"] = table["rendered_tokens_baseline"] - table["rendered_tokens"]
        table["ttft_ratio"] = table["ttft_s"] / table["ttft_s_baseline"]
        table["fidelity_difference"] = table["fidelity"] - table["fidelity_baseline"]
        table.attrs = self.turns.attrs | {"baseline": against}
        return table

    def noise_floor(self) -> pd.DataFrame:
        """How far each variant agrees with itself: its repeats, judged against its first. Needs `repeat` >= 2."""
        first = {(cell["variant"], *_turn_of(cell)[:3]): cell for cell in self.cells if cell["repeat"] == 0}
        rows = []
        for name in self.variants:
            again = [cell for cell in self.cells if cell["variant"] == name and cell["repeat"] > 0]
            pairs = [(first[name, *_turn_of(cell)[:3]], cell) for cell in again]
            found = bootstrap_mean([_agreement(a, b) for a, b in pairs], [cell["session"] for cell in again])
            told = {"self_fidelity": found.estimate, "self_low": found.low, "self_high": found.high}
            rows.append({"variant": name, "n_pairs": len(pairs)} | told)
        return frame(rows)

    def pass_hat_k(self, k: int) -> pd.DataFrame:
        """The chance that k repeats of a turn all agree with the recording, averaged; turns with fewer are left out."""
        good = self.turns[self.turns["error"].isna()]
        rows = []
        for name in self.variants:
            turns = good[good["variant"] == name].groupby(TURN[:3])["exact"].agg(["sum", "count"])
            tries = zip(turns["sum"].astype(int), turns["count"].astype(int), strict=True)
            known = [chance for s, n in tries if (chance := pass_hat_k(s, n, k)) is not None]
            rows.append(
                {
                    "variant": name,
                    "k": k,
                    "n_turns": len(known),
                    "pass_rate": sum(known) / len(known) if known else None,
                }
            )
        return frame(rows)

    def breaks(self) -> PrefixBreaks:
        """A row for each turn whose prompt did not continue its lane's last one; see `lab.prefix_breaks`."""
        rows = []
        for cell in self.cells:
            if cell.get("break"):
                rows.append({name: cell[name] for name in ("variant", *TURN)} | cell["break"])
        return PrefixBreaks.of(rows, ("variant", *TURN, "section", "pointer", "cause", "tokens_lost", "fixed_tokens"))

    def pareto(self, baseline: str | None = None) -> pd.DataFrame:
        """Fewer tokens, sooner, truer: `dominated` marks variants that another one beats in all that is known."""
        table = self.summary(baseline)[["variant", "prompt_tokens_mean", "ttft_median_s", "fidelity"]].copy()
        rows = table.to_dict("records")
        table["dominated"] = [any(_beats(other, row) for other in rows) for row in rows]
        return table

    def by_depth(self, baseline: str | None = None) -> pd.DataFrame:
        """Savings by how deep a turn stands in its conversation."""
        return breakdown.by_depth(self.compare(baseline))

    def by_section(self, baseline: str | None = None) -> pd.DataFrame:
        """Savings by section of the prompt: system, tools, messages, and what the template adds."""
        return breakdown.by_section(self.compare(baseline))

    def ladder(self) -> pd.DataFrame:
        """How many turns get how far up the seven rungs of fidelity."""
        return breakdown.ladder(self.turns, self.variants)

    def goodput(self, **slo: float) -> pd.DataFrame:
        """The share of turns within limits, such as `run.goodput(ttft_s=2, e2e_s=30)`. Raises SettingsError."""
        return breakdown.goodput(self.turns, self.variants, slo)

    def break_even(self, *models: str, baseline: str | None = None) -> pd.DataFrame:
        """Whether shorter prompts cost less where reuse is cheap, by model (default: all). Raises SettingsError."""
        return breakdown.break_even(self.compare(baseline), self.prices, models or tuple(self.prices.models))

    def save(self, path: str | Path) -> None:
        """Write a results folder, which `load_run` reads. Raises SettingsError where results are there already."""
        folder = Path(path)
        if (folder / "run.json").exists():
            raise SettingsError(f"{folder} holds results already; name another folder.")
        write_head(folder, self.head)
        (folder / "cells.jsonl").touch()
        add_cells(folder, self.cells)

    def _derived(self, cell: JsonObject) -> dict[str, Any]:
        """What follows from the facts of a cell."""
        prompt, cached, output = (cell.get(k) for k in ("prompt_tokens", "prompt_tokens_cached", "output_tokens"))
        model = cell["backend"].partition("=")[2] if cell["backend_kind"] in PRICED else None
        price = self.prices.of(model, prompt or 0) if model else None
        uncached = None if prompt is None or cached is None else prompt - cached
        gap_s, counted = itl_mean_s(cell.get("ttft_s"), cell.get("e2e_s"), output), cell.get("rendered_tokens")
        return {
            "depth": depth_bucket(cell["turn"]),
            "prompt_tokens_uncached": uncached,
            "usage_discrepancy_ratio": abs(prompt - counted) / prompt if prompt and counted is not None else None,
            "itl_mean_s": gap_s,
            "decode_tps": 1 / gap_s if gap_s else None,
            "prefill_tps": uncached / cell["ttft_s"] if uncached is not None and cell.get("ttft_s") else None,
            "cost_usd": cost_usd(price, prompt, cached, output),
        }

    def _baseline(self, name: str | None) -> str:
        if name is not None and name not in self.variants:
            raise SettingsError(f'"{name}" is no variant of this run; there are: {", ".join(self.variants)}.')
        return name or self.variants[0]

    def _summary_row(self, name: str, baseline: str) -> dict[str, Any]:
        turns = self.turns[self.turns["variant"] == name]
        good = turns[turns["error"].isna()]
        sessions = list(good["session"])
        calls = good["candidate_calls"].sum()
        fidelity = bootstrap_mean(_list(good["fidelity"]), sessions)
        row: dict[str, Any] = {
            "variant": name,
            "n_turns": len(turns),
            "n_sessions": int(turns["session"].nunique()),
            "n_errors": len(turns) - len(good),
            "prompt_tokens_mean": _mean(good["prompt_tokens"]),
            "ideal_hit_rate": _rate(good, "ideal_tokens", "rendered_tokens"),
            "expected_hit_rate": _rate(good, "expected_tokens", "rendered_tokens"),
            "reported_hit_rate": _rate(good, "prompt_tokens_cached", "prompt_tokens"),
            "cache_efficiency_ratio": _efficiency(good),
            "reported_coverage_rate": float(good["prompt_tokens_cached"].notna().mean()) if len(good) else None,
            "ttft_median_s": _median(good["ttft_s"]),
            "itl_median_s": _median(good["itl_mean_s"]),
            "e2e_median_s": _median(good["e2e_s"]),
            "cost_usd": float(good["cost_usd"].sum()) if len(good) and good["cost_usd"].notna().all() else None,
            "trigger_f1": _trigger_f1(good),
            "name_acc": _ratio(good["named_calls"].sum(), good["matched_calls"].sum()),
            "schema_valid_rate": _ratio(calls - good["invalid_calls"].sum(), calls),
            "arg_value_score": _mean(good["arg_value_score"]),
            "exact_rate": _mean(good["exact"].astype("Float64")),
            "fidelity": fidelity.estimate,
            "fidelity_low": fidelity.low,
            "fidelity_high": fidelity.high,
        }
        return row | self._against(name, baseline, good)

    def _against(self, name: str, baseline: str, good: pd.DataFrame) -> dict[str, Any]:
        if name == baseline:
            enough = bootstrap_mean(_list(good["fidelity"]), list(good["session"]))
            return dict.fromkeys(AGAINST) | {"verdict": "baseline", "insufficient": enough.insufficient}
        table = self.compare(baseline)
        pairs = table[table["variant"] == name]
        clusters = list(pairs["session"])
        saved = saving(_list(pairs["rendered_tokens_baseline"]), _list(pairs["rendered_tokens"]), clusters).saved_ratio
        work = saving(_list(pairs["prompt_tokens_uncached_baseline"]), _list(pairs["prompt_tokens_uncached"]), clusters)
        bill, bill_low, bill_high = breakdown.billed(pairs)
        known = pairs.dropna(subset=["ttft_s", "ttft_s_baseline"])
        speed = bootstrap_ratio(_list(known["ttft_s"]), _list(known["ttft_s_baseline"]), list(known["session"]))
        differences = _list(pairs["fidelity_difference"])
        verdict = non_inferior(differences, clusters)
        return {
            "saved_ratio": saved.estimate,
            "saved_low": saved.low,
            "saved_high": saved.high,
            "uncached_saved_ratio": work.saved_ratio.estimate,
            "uncached_saved_low": work.saved_ratio.low,
            "uncached_saved_high": work.saved_ratio.high,
            "billed_saved_ratio": bill,
            "billed_saved_low": bill_low,
            "billed_saved_high": bill_high,
            "ttft_ratio": speed.estimate,
            "ttft_low": speed.low,
            "ttft_high": speed.high,
            "agreement": bootstrap_mean(_list(pairs["agreement"]), clusters).estimate,
            "verdict": verdict,
            "insufficient": verdict == "insufficient" or saved.insufficient,
        }


def load_run(path: str | Path) -> Run:
    """The results in a folder. Raises SettingsError."""
    return Run(*read_results(Path(path)))


def _turn_of(cell: JsonObject) -> tuple[str, str, int, int]:
    return cell["session"], cell["lane"], cell["turn"], cell["repeat"]


def _agreement(reference: JsonObject, candidate: JsonObject) -> float | None:
    """Fidelity of one cell's answer to another's; without calls on either side they agree. None after an error."""
    if reference.get("error") or candidate.get("error"):
        return None
    found = judge(_answer(reference), _answer(candidate), None)
    return found.fidelity if found.expected else float(not found.triggered)


def _answer(cell: JsonObject) -> Answer:
    calls = [block for block in cell["answer"] if block["type"] == "tool_use"]
    text = "".join(block["text"] for block in cell["answer"] if block["type"] == "text")
    return Answer(text=text, calls=[Call(c["id"], c["name"], "", c["input"]) for c in calls])


def _beats(other: Mapping[Any, Any], row: Mapping[Any, Any]) -> bool:
    """Not worse in anything that is known of both, better in something."""
    better = False
    for column, sign in (("prompt_tokens_mean", -1), ("ttft_median_s", -1), ("fidelity", 1)):
        if pd.isna(other[column]) or pd.isna(row[column]):
            continue
        difference = sign * (other[column] - row[column])
        if difference < 0:
            return False
        better = better or difference > 0
    return better


def _trigger_f1(turns: pd.DataFrame) -> float | None:
    wanted, triggered = turns["reference_calls"] > 0, turns["triggered"].astype("boolean")
    return _ratio(2 * (wanted & triggered).sum(), wanted.sum() + triggered.sum())


def _efficiency(turns: pd.DataFrame) -> float | None:
    known = turns.dropna(subset=["expected_tokens"])
    return cache_efficiency(_list(known["prompt_tokens_cached"]), _list(known["expected_tokens"]))


def _rate(turns: pd.DataFrame, top: str, bottom: str) -> float | None:
    known = turns.dropna(subset=[top, bottom])
    return _ratio(known[top].sum(), known[bottom].sum())


def _ratio(top: Any, bottom: Any) -> float | None:
    return float(top) / float(bottom) if bottom else None


def _mean(column: pd.Series[Any]) -> float | None:
    return float(column.mean()) if column.notna().any() else None


def _median(column: pd.Series[Any]) -> float | None:
    return float(column.median()) if column.notna().any() else None


def _list(column: pd.Series[Any]) -> list[Any]:
    """Values, None where unknown."""
    return [None if pd.isna(value) else value for value in column]
