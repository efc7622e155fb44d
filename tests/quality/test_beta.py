"""Chances and quantiles of the Beta distribution, compared with exact values and with each other."""

from __future__ import annotations

import pytest

from slo_router.quality.beta import Beta, chance_below, of_moments, quantile

# Beta(a, 1) has the chance x^a and the quantile p^(1/a); Beta(1, b) mirrors it; Beta(½, ½) is the arcsine's; for whole
# parameters the chance is a binomial sum: Beta(2, 3) below ½ is P(2 or more of 4) = 11/16.
EXACT = [
    (Beta(1.0, 1.0), 0.3, 0.3),
    (Beta(3.0, 1.0), 0.5, 0.125),
    (Beta(1.0, 4.0), 0.5, 0.9375),
    (Beta(0.5, 0.5), 0.25, 1 / 3),
    (Beta(2.0, 3.0), 0.5, 0.6875),
    (Beta(5.0, 5.0), 0.5, 0.5),
    (Beta(1_000.0, 1.0), 0.999, 0.999**1_000),
    (Beta(50_000.0, 50_000.0), 0.5, 0.5),
]


@pytest.mark.parametrize(("shape", "x", "chance"), EXACT)
def test_a_chance_is_the_exact_one(shape: Beta, x: float, chance: float) -> None:
    assert chance_below(x, shape) == pytest.approx(chance, abs=1e-7)


@pytest.mark.parametrize(("shape", "x", "chance"), EXACT)
def test_a_quantile_is_the_exact_one(shape: Beta, x: float, chance: float) -> None:
    assert quantile(chance, [(1.0, shape)]) == pytest.approx(x, abs=1e-6)


@pytest.mark.parametrize("shape", [Beta(1.0, 3.0), Beta(16.0, 4.0), Beta(740.0, 260.0), Beta(80_000.0, 20_000.0)])
def test_the_chance_at_a_quantile_is_the_share_that_was_asked_for(shape: Beta) -> None:
    for share in (0.05, 0.1, 0.5, 0.9):
        assert chance_below(quantile(share, [(1.0, shape)]), shape) == pytest.approx(share, abs=1e-4)


def test_a_mixture_lies_between_its_parts() -> None:
    """Half the weight is Beta(1, 1), half is nearly certainly 1: then a quarter lies below one half."""
    assert quantile(0.25, [(0.5, Beta(1.0, 1.0)), (0.5, Beta(50_000.0, 1.0))]) == pytest.approx(0.5, abs=1e-5)


def test_moments_make_the_distribution_that_has_them() -> None:
    """0.8 · 0.2 ÷ 21 is the variance of Beta(16, 4)."""
    assert of_moments(0.8, 0.16 / 21) == pytest.approx((16.0, 4.0))
