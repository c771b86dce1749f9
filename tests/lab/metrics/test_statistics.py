"""Intervals that know their clusters, and verdicts that abstain."""

from __future__ import annotations

import random

import pytest

from anyclaude_lab.lab.metrics.savings import saving
from anyclaude_lab.lab.metrics.statistics import (
    bootstrap_mean,
    bootstrap_ratio,
    geometric_speedup,
    non_inferior,
    pass_hat_k,
)

SESSIONS = [f"s{n // 10}" for n in range(100)]


def test_an_interval_covers_its_estimate_and_is_the_same_every_time() -> None:
    values = [float(n % 7) for n in range(100)]
    found = bootstrap_mean(values, SESSIONS)
    assert found.estimate == pytest.approx(sum(values) / 100)
    assert found.low is not None and found.high is not None and found.estimate is not None
    assert found.low <= found.estimate <= found.high
    assert found == bootstrap_mean(values, SESSIONS)
    assert (found.n, found.clusters, found.insufficient) == (100, 10, False)


def test_turns_of_one_session_are_not_independent() -> None:
    """The same values spread over more sessions give a narrower interval."""
    values = [float(n // 10) for n in range(100)]
    clustered = bootstrap_mean(values, SESSIONS)
    spread = bootstrap_mean(values, [f"s{n}" for n in range(100)])
    assert clustered.high is not None and clustered.low is not None and spread.high is not None and spread.low
    assert clustered.high - clustered.low > 1.5 * (spread.high - spread.low)


def test_nothing_known_is_unknown_and_little_is_insufficient() -> None:
    assert bootstrap_mean([None, None], ["a", "b"]).estimate is None
    assert str(bootstrap_mean([None], ["a"])) == "unknown"
    one = bootstrap_mean([1.0] * 40, ["a"] * 40)
    assert one.insufficient
    assert one.low is None
    assert "insufficient" in str(one)


def test_a_ratio_is_that_of_the_sums() -> None:
    assert bootstrap_ratio([1, 99], [10, 100], ["a", "b"]).estimate == pytest.approx(100 / 110)


def test_non_inferiority_needs_proof() -> None:
    rng = random.Random(1)
    even = [rng.gauss(0, 0.02) for _ in range(100)]
    assert non_inferior(even, SESSIONS) == "preserved"
    assert non_inferior([value - 0.2 for value in even], SESSIONS) == "worse"
    noisy = [rng.choice([-1.0, 1.0]) for _ in range(100)]
    assert non_inferior(noisy, SESSIONS) == "not shown", "no significant difference is no proof of none"
    assert non_inferior(even[:20], SESSIONS[:20]) == "insufficient"


def test_a_speedup_is_the_geometric_mean_of_pairs() -> None:
    found = geometric_speedup([4.0, 1.0], [1.0, 1.0], ["a", "b"])
    assert found.estimate == pytest.approx(2.0)


def test_pass_hat_k() -> None:
    assert pass_hat_k(3, 4, 2) == 0.5
    assert pass_hat_k(1, 4, 2) == 0.0
    assert pass_hat_k(1, 1, 2) is None


def test_a_saving_is_weighted_by_tokens_and_skips_what_is_unknown() -> None:
    found = saving([100, 1000, None, 10], [50, 900, 10, None], ["a", "b", "c", "d"])
    assert found.saved_tokens == 150
    assert found.saved_ratio.estimate == pytest.approx(150 / 1100)
    assert found.median_ratio == pytest.approx(0.3)
    assert saving([], [], []).median_ratio is None
