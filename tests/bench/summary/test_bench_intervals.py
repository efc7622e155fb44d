"""Intervals hold the truth as often as they claim. A figure with too few values has no interval and is marked."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.agent.interval_coverage import coverage, groups, quantile, values
from slo_bench.summary.percentiles import (
    grouped_mean_interval,
    grouped_percentile_interval,
    mean_interval,
    percentile_interval,
)
from slo_bench.summary.spreads import SHARES, grouped_spread, spread
from slo_router.contract.intervals import Interval

RUNS, SEED = 400, 1
EXPECTED = pytest.approx(0.95, abs=0.04)  # of 400 runs: 0.95 ± 3.7 standard errors of 0.011


@pytest.mark.parametrize(("share", "fewest"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_a_percentile_has_an_interval_from_as_many_values_as_it_takes(share: float, fewest: int) -> None:
    # 1 − 0.95^72 = 0.9751: the largest of 72 values lies beyond the p95 with more than 97.5 %
    assert percentile_interval([float(i) for i in range(fewest)], share) is not None
    assert percentile_interval([float(i) for i in range(fewest - 1)], share) is None


def test_the_ranks_are_those_of_the_binomial_table() -> None:
    ten = [float(i) for i in range(1, 11)]
    assert percentile_interval(ten, 0.5) == Interval(2.0, 9.0)  # P(2 ≤ B(10, ½) ≤ 8) = 1 − 2 × 11/1024 = 0.979
    hundred = [float(i) for i in range(1, 101)]
    assert percentile_interval(hundred, 0.5) == Interval(40.0, 61.0)


def test_the_normal_approximation_takes_over_without_a_step() -> None:
    exact, beyond = ([float(i) for i in range(n)] for n in (2_000, 2_001))
    first, second = percentile_interval(exact, 0.95), percentile_interval(beyond, 0.95)
    assert first is not None
    assert second is not None
    assert (second.low - first.low, second.high - first.high) == pytest.approx((0.95, 0.95), abs=1.1)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    found = [
        coverage(lambda rng, n: mean_interval(values(rng, n)), 1.1972, 40, RUNS, SEED),  # exp(0.6² / 2)
        coverage(lambda rng, n: percentile_interval(values(rng, n), 0.9), quantile(0.9, 0.6), 100, RUNS, SEED),
        coverage(lambda rng, n: percentile_interval(values(rng, n), 0.5), 1.0, 40, RUNS, SEED),
        coverage(lambda rng, n: grouped_mean_interval(groups(rng, n)), 1.2523, 40, RUNS // 4, SEED),  # exp(0.45 / 2)
    ]
    assert [share for share, _ in filter(None, found)] == [EXPECTED] * 4
    assert [had for _, had in filter(None, found)] == [1.0] * 4


def test_gaps_of_one_request_count_as_one() -> None:
    rng = random.Random(SEED)
    many = [[factor] * 50 for factor in (rng.lognormvariate(0, 0.3) for _ in range(20))]
    alike, alone = grouped_mean_interval(many), mean_interval([group[0] for group in many])
    assert alike == pytest.approx(alone)  # fifty copies of each value add nothing
    assert grouped_percentile_interval(many[:4], 0.5) is None


@given(st.lists(st.floats(min_value=0, max_value=1e3), min_size=1, max_size=80))
@settings(max_examples=50)
def test_a_spread_is_ordered_and_its_intervals_lie_within_the_values(found: list[float]) -> None:
    summary = spread(found)
    assert summary is not None
    assert min(found) <= summary.p50_s <= summary.p90_s <= summary.p95_s <= summary.p99_s <= max(found)
    for name, interval in summary.intervals.items():
        assert interval.low <= interval.high
        assert name == "mean" or min(found) <= interval.low <= summary.value_s(name) <= interval.high <= max(found)


@pytest.mark.parametrize(("n", "supported"), [(9, 1), (10, 2), (20, 3), (99, 3), (100, 4)])
def test_a_percentile_that_the_values_cannot_support_is_told(n: int, supported: int) -> None:
    summary = spread([1.0] * n)
    assert summary is not None
    assert [summary.supports(name) for name in SHARES] == [True] * supported + [False] * (4 - supported)
    assert summary.supports("mean")


def test_gaps_are_counted_and_percentiles_taken_over_all_of_them() -> None:
    summary = grouped_spread([(0.1, 0.3), (), (0.2,)])
    assert summary is not None
    assert (summary.n, summary.p50_s, summary.mean_s) == (3, 0.2, pytest.approx(0.2))
    assert grouped_spread([(), ()]) is None
