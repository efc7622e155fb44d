"""The length of an answer: from answers that were seen, answers that were cut, and the prior."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.ages import LENGTH_HALF_LIFE_S
from slo_router.request.lengths import ASSUMED_ANSWERS, SPREAD, Length, Seen, assumed
from tests.shared.builders import NOW_S


def seen(*tokens: int, cut: tuple[int, ...] = ()) -> Seen:
    made = Seen()
    for count in tokens:
        made.add(count, NOW_S, is_cut=False)
    for count in cut:
        made.add(count, NOW_S, is_cut=True)
    return made


def test_before_anything_is_seen_an_answer_is_log_normal_around_what_is_assumed() -> None:
    length = assumed(500.0)
    assert length.mean == 500
    median = 500 * math.exp(-(SPREAD**2) / 2)
    assert length.quantile(0.5) == pytest.approx(median, rel=0.03)
    assert length.quantile(0.9) == pytest.approx(median * math.exp(1.2816 * SPREAD), rel=0.05)
    assert length.chance(median) == pytest.approx(0.5, abs=0.02)
    assert Seen().posterior(500.0, NOW_S).mean == pytest.approx(500)


def test_what_was_seen_outweighs_what_was_assumed_in_the_end() -> None:
    one = seen(100).posterior(500.0, NOW_S)
    assert one.mean == pytest.approx((100 + ASSUMED_ANSWERS * 500) / (1 + ASSUMED_ANSWERS), rel=0.02)
    many = seen(*[100] * 300).posterior(500.0, NOW_S)
    assert many.mean == pytest.approx(120, rel=0.02)  # of 95 answers, by weight
    assert many.quantile(0.5) == pytest.approx(100, rel=0.05)


def test_the_part_that_a_client_sees_is_by_tokens_and_begins_with_what_is_assumed() -> None:
    made = Seen()
    assert made.posterior(100.0, NOW_S, shown=0.5).shown == 0.5
    for _ in range(1_000):
        made.add(10, NOW_S, is_cut=False)
        made.add(90, NOW_S, is_cut=False, hidden=90)
    assert made.posterior(50.0, NOW_S, assumed_answers=1e-6).shown == pytest.approx(0.1, abs=0.02)
    assert 0 < seen(cut=(5,)).posterior(50.0, NOW_S, shown=0.0).shown < 1


def test_an_answer_that_was_cut_counts_for_each_length_up_to_its_own() -> None:
    """Of five answers two ended at 10 tokens and one at 1,000; two were cut at 100."""
    made = Seen()
    for i in range(1_000):
        tokens, is_cut = [(10, False), (100, True), (10, False), (100, True), (1_000, False)][i % 5]
        made.add(tokens, NOW_S, is_cut=is_cut)
    length = made.posterior(50.0, NOW_S, assumed_answers=1e-6)
    assert length.chance(50) == pytest.approx(0.4, abs=0.02)
    assert length.mean == pytest.approx(0.4 * 10 + 0.6 * 1_000, rel=0.05)
    assert length.within(100) == pytest.approx(0.4 * 10 + 0.6 * 100, rel=0.05)


def test_where_all_were_cut_what_is_assumed_tells_how_long_they_would_have_become() -> None:
    length = seen(cut=(200,) * 50).posterior(300.0, NOW_S)
    assert length.chance(199) < 0.1
    assert 250 < length.mean < 900
    longer = seen(cut=(10**6,) * 50).posterior(300.0, NOW_S)  # longer than any prior
    assert longer.quantile(0.5) == pytest.approx(10**6, rel=0.05)


def test_the_latest_answers_count_most() -> None:
    changed = seen(*[100] * 500, *[400] * 200).posterior(100.0, NOW_S)
    assert changed.mean == pytest.approx(360, rel=0.05)  # the last hundred answers have two thirds of the weight


def test_evidence_fades_with_its_age() -> None:
    made = seen(*[1_000] * 100)
    weight = made.answers(NOW_S)
    assert weight == pytest.approx(63.4, rel=0.02)  # 100 × (1 − 1/e)
    assert made.answers(NOW_S + LENGTH_HALF_LIFE_S) == pytest.approx(weight / 2)
    assert made.posterior(100.0, NOW_S + 20 * LENGTH_HALF_LIFE_S).mean == pytest.approx(100, rel=0.01)
    made.add(100, NOW_S + 20 * LENGTH_HALF_LIFE_S, is_cut=False)
    assert made.answers(NOW_S + 20 * LENGTH_HALF_LIFE_S) == pytest.approx(1.0, rel=0.01)


def test_the_mean_of_short_answers_is_exact_and_of_long_ones_nearly() -> None:
    rng = random.Random(1)
    for most in (4, 30, 5_000):
        drawn = [rng.randint(1, most) for _ in range(3_000)]
        mean = seen(*drawn).posterior(most / 2, NOW_S, assumed_answers=1e-6).mean
        latest = sum(count * 0.99**age for age, count in enumerate(reversed(drawn))) / 100
        assert mean == pytest.approx(latest, rel=0.01)


LENGTHS = st.builds(
    lambda ended, cut, mean: seen(*ended, cut=tuple(cut)).posterior(mean, NOW_S),
    st.lists(st.integers(-5, 10**9), max_size=20),
    st.lists(st.integers(-5, 10**9), max_size=20),
    st.floats(0.5, 1e5),
)


@given(LENGTHS, st.floats(1, 1e6), st.floats(1, 1e6))
def test_a_higher_limit_is_kept_more_often_and_never_makes_an_answer_shorter(
    length: Length, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert 0 <= length.chance(low) <= length.chance(high) <= 1
    assert 0 < length.within(low) <= length.within(high) * (1 + 1e-9)
    assert length.within(high) <= min(high, length.mean) * (1 + 1e-9)
    assert length.within(None) == length.mean
    assert length.quantile(0.05) <= length.quantile(0.5) <= length.quantile(0.99)


def test_a_worker_that_runs_for_years_keeps_its_numbers_small() -> None:
    made, at_s = Seen(), NOW_S
    for i in range(5_000):
        at_s += 3_600
        made.add(100 + i % 7, at_s, is_cut=False)
    assert made.answers(at_s) == pytest.approx(1 / (1 - 0.99 * 2 ** (-1 / 6)), rel=0.01)
    assert made._gain < 1e12
