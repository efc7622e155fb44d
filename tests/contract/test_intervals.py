"""Intervals have the values of the textbook formulas, and hold the truth as often as they claim."""

from __future__ import annotations

import random

import pytest

from slo_router.contract.intervals import PairSums, ratio, wilson


def test_wilson_has_the_textbooks_values() -> None:
    """81 of 263: (0.3080 + 3.8415/526 ± 1.96 · √(0.3080 · 0.6920/263 + 3.8415/276,676)) / 1.014606."""
    found = wilson(81, 263)
    assert found == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_wilson_says_something_sensible_where_all_or_none_was_met() -> None:
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)  # 10 / (10 + 3.8415)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_a_ratio_of_sums_by_hand() -> None:
    """c = 1, 3; b = 2, 4: R = 4/6; residuals −1/3 and 1/3; √(2 · 2/9) / 6 = 0.1111; 1.96 times that is 0.2178."""
    assert ratio(PairSums.of([(1.0, 2.0), (3.0, 4.0)])) == pytest.approx((0.6667 - 0.2178, 0.6667 + 0.2178), abs=1e-4)


def test_a_ratio_that_never_varies_is_certain_and_one_pair_tells_nothing() -> None:
    assert ratio(PairSums.of([(1.0, 2.0), (3.0, 6.0)])) == pytest.approx((0.5, 0.5))
    assert ratio(PairSums.of([(1.0, 2.0)])) is None
    assert ratio(PairSums.of([(0.0, 0.0), (0.0, 0.0)])) is None


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    """200 samples of 100 pairs with true ratio 0.5: a 95 % interval misses about 10 samples; 20 are far too many."""
    rng = random.Random(3)
    missed = 0
    for _ in range(200):
        pairs = [(b * rng.uniform(0.0, 1.0), b) for b in (rng.expovariate(1.0) for _ in range(100))]
        low, high = ratio(PairSums.of(pairs)) or (0.0, 0.0)
        missed += not low <= 0.5 <= high
    assert 2 <= missed <= 20
