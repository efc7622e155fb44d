"""A curve predicts the typical TTFT and TPOT of a request, their quantiles, and the probability of a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import LEVELS
from slo_router.latency.curve import Curve, probability, tpot_s, ttft_s

RATIOS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0)
CURVE = Curve(0.05, 1e-4, 0.02, 0.01, 0.001, RATIOS, RATIOS)


def test_a_longer_prompt_and_a_higher_load_take_longer() -> None:
    assert ttft_s(CURVE, 1_000, 3) == pytest.approx(0.05 + 0.1 + 0.06)
    assert tpot_s(CURVE, 3) == pytest.approx(0.013)


def test_the_probability_of_a_limit_is_the_share_of_ratios_below_it() -> None:
    assert probability(RATIOS, 1.6) == pytest.approx(0.95)
    assert probability(RATIOS, 1.3) == pytest.approx(0.85)
    assert probability(RATIOS, 0.25) == pytest.approx(0.005)  # half of the lowest ratio, half of its level
    assert probability(RATIOS, 3.0) == pytest.approx(0.995)  # halfway from the highest ratio to its double
    assert probability(RATIOS, 9.0) == 1.0
    assert probability(RATIOS, -1.0) == 0.0


@pytest.mark.parametrize(("level", "ratio"), list(zip(LEVELS, RATIOS, strict=True)))
def test_each_level_is_the_probability_of_its_own_ratio(level: float, ratio: float) -> None:
    assert probability(RATIOS, ratio) == pytest.approx(level)


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_larger_limit_is_never_less_likely_kept(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert 0 <= probability(RATIOS, low) <= probability(RATIOS, high) <= 1
