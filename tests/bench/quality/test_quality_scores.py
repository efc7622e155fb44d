"""Scores, their intervals, which deployments differ for sure, and which scores may be written."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.quality.scores import CellScores, Grade, compare, with_grades
from slo_router.contract.intervals import difference_interval, mean_interval, wilson

SHARES = st.lists(st.floats(0, 1), min_size=5, max_size=40)


def cell(deployment: str, scores: list[float], category: str = "ner") -> CellScores:
    named = {f"item-{i}": score for i, score in enumerate(scores)}
    return CellScores(deployment, f"openai/{deployment}", category, "abc", len(scores), named)


def test_wilsons_interval_of_a_textbook() -> None:
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)


def test_fractional_scores_get_students_interval() -> None:
    low, high = mean_interval([0.2, 0.4, 0.6, 0.8, 0.5]) or (0, 0)
    half = 2.776 * 0.2236068 / 5**0.5  # t(0.975, 4) × s / √n
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-3)


def test_pairs_of_0_and_1_get_bonett_and_prices_interval() -> None:
    low, high = difference_interval([1.0] * 6 + [-1.0] * 2 + [0.0] * 32) or (0, 0)
    middle, spread = 4 / 42, ((10 / 42 - (4 / 42) ** 2) / 42) ** 0.5
    assert (low, high) == pytest.approx((middle - 1.959964 * spread, middle + 1.959964 * spread))


def test_too_few_items_have_no_interval() -> None:
    assert mean_interval([1.0] * 4) is None
    assert difference_interval([1.0] * 4) is None
    assert not compare([cell("a", [1.0] * 4), cell("b", [0.0] * 4)])[0].told_apart


@settings(max_examples=40)
@given(SHARES)
def test_an_interval_holds_the_mean_and_stays_a_share(scores: list[float]) -> None:
    interval = mean_interval(scores)
    assert interval is not None
    assert 0 <= interval.low <= interval.high <= 1


@settings(max_examples=40)
@given(SHARES, st.randoms(use_true_random=False))
def test_who_stands_first_makes_no_difference(scores: list[float], rng: random.Random) -> None:
    one, other = cell("a", scores), cell("b", [rng.choice([0.0, 1.0, score]) for score in scores])
    assert [d.told_apart for d in compare([one, other])] == [d.told_apart for d in compare([other, one])]
    assert not compare([one, cell("b", scores)])[0].told_apart  # the same answers


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_equal_deployments_are_seldom_told_apart_and_the_interval_keeps_its_word(share: float) -> None:
    rng, runs = random.Random(5), 600

    def draw() -> list[float]:
        return [float(rng.random() < share) for _ in range(30)]

    apart = sum(compare([cell("a", draw()), cell("b", draw())])[0].told_apart for _ in range(runs))
    assert apart / runs < 0.06
    held = sum(low <= share <= high for low, high in (mean_interval(draw()) or (1, 0) for _ in range(runs)))
    assert held / runs > 0.92


def test_many_pairs_need_more_evidence() -> None:
    strong, weak = [1.0] * 30, [1.0] * 25 + [0.0] * 5  # 5 of 30: just enough for one test at 95 %
    two = compare([cell("a", strong), cell("b", weak)])
    five = compare([cell("a", strong), cell("b", weak), *(cell(name, strong) for name in "cdef")])
    assert two[0].told_apart
    assert len(five) == 15
    assert not any(one.told_apart for one in five)


def test_differences_are_taken_on_common_items_within_a_category() -> None:
    whole, part = cell("a", [1.0] * 10), cell("b", [1.0] * 6)
    (one,) = compare([whole, part, cell("a", [0.5] * 9, "code")])
    assert (one.category, one.n, one.mean) == ("ner", 6, 0)


def test_errors_are_counted_apart_and_keep_a_cell_from_being_written() -> None:
    good = [Grade(f"i{n}", 1.0, answered_at_s=100.0 - n) for n in range(9)]
    empty = CellScores("a", "openai/a", "ner", "abc", 10)
    failed = with_grades(empty, [*good, Grade("i9", None, "timeout")])
    assert (failed.n, failed.mean, failed.problems, failed.unfinished) == (9, 1.0, {"timeout": 1}, 0)
    assert failed.answered_at_s == 92.0
    assert failed.publishable
    worse = with_grades(empty, [*good[:8], Grade("i8", None, "http_500"), Grade("i9", None, "timeout")])
    assert not worse.publishable
    stopped = with_grades(empty, [Grade("i0", 0.0, cut=True)])
    assert (stopped.unfinished, stopped.cut, stopped.publishable) == (9, 1, False)
    assert with_grades(empty, []).mean is None
