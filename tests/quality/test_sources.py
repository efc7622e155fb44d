"""A noisy source is corrected towards lower qualities, until cells that the suite graded too show its noise."""

from __future__ import annotations

import pytest

from slo_router.quality.sources import FEEDBACK, SUITE, WORTHS, Shown, Worth, learn


def test_a_doubt_about_the_noise_never_raises_a_share() -> None:
    """70 of 100 may be the truth; 38 of 100 may be (38 − 20) ÷ 0.6 = 30."""
    worth = Worth(0.2, 0.0, 0.2)
    assert worth.success(70, 100) == 70
    assert worth.success(38, 100) == pytest.approx(30)


def test_cells_with_both_kinds_of_answers_show_the_noise() -> None:
    """Ten cells of truth 0.9 and 0.8 whose feedback shows 0.2 + 0.6 · truth: the noise is 0.2, exactly."""
    cells = [
        {SUITE: Shown(100, 100 * p), FEEDBACK: Shown(500, 500 * (0.2 + 0.6 * p))} for p in (0.9, 0.8) for _ in range(5)
    ]
    worth = learn(FEEDBACK, cells)[FEEDBACK]
    assert (worth.least_noise, worth.most_noise) == pytest.approx((0.2, 0.2))
    assert worth.success(74, 100) == pytest.approx(90)


def test_too_few_cells_or_answers_teach_nothing() -> None:
    one = {SUITE: Shown(100, 90), FEEDBACK: Shown(500, 370)}
    thin = {SUITE: Shown(5, 5), FEEDBACK: Shown(500, 370)}
    assert learn(FEEDBACK, [one] * 4) is WORTHS
    assert learn(FEEDBACK, [one] * 4 + [thin] * 9) is WORTHS
