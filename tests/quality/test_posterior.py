"""Beliefs: from the typed number, the answers, and the neighbours; and lower after a drop."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from slo_router.contract.ages import DAY_S
from slo_router.quality.beta import Beta, quantile
from slo_router.quality.evidence import Batch, Evidence, update
from slo_router.quality.posterior import Belief, Rules, believe
from slo_router.quality.sources import FEEDBACK, SUITE

CELL = "small", "code"
OTHERS = [("small", name) for name in ("chat", "ner", "reasoning", "summarization")]


def graded(share: float, answers: int, days: Sequence[int] = range(10), source: str = SUITE) -> Evidence:
    evidence = Evidence()
    for day in days:
        many = answers / len(days)
        evidence = update(evidence, Batch(source, many, share * many, day * DAY_S))
    return evidence


def believed(evidence: Evidence, typed: float = 0.8, *, rules: Rules | None = None) -> Belief:
    return believe({CELL: evidence}, {CELL: typed}, 10 * DAY_S, rules or Rules())[CELL]


def test_without_answers_the_typed_number_counts_as_so_many() -> None:
    """0.8 as 20 answers is Beta(16, 4)."""
    found = believed(Evidence())
    assert found.mean == pytest.approx(0.8)
    assert found.bound == pytest.approx(quantile(0.1, [(1.0, Beta(16, 4))]), abs=1e-4)
    assert (found.answers, found.at_s, found.typed, dict(found.sources)) == (0, None, 0.8, {})


def test_answers_outweigh_the_typed_number_and_narrow_the_bound() -> None:
    found = [believed(graded(0.6, answers)) for answers in (10, 100, 1_000)]
    assert found[0].mean > found[1].mean > found[2].mean > 0.6
    assert found[2].mean == pytest.approx(0.6, abs=0.02)
    assert found[2].mean - found[2].bound < found[0].mean - found[0].bound
    assert found[2].at_s == 9 * DAY_S


def test_a_cell_without_answers_follows_the_other_categories_of_its_deployment() -> None:
    """It does not follow another deployment's categories."""
    evidence = {cell: graded(0.5, 200) for cell in OTHERS}
    typed = dict.fromkeys([CELL, *OTHERS, ("large", "code")], 0.8)
    found = believe(evidence, typed, 10 * DAY_S)
    assert 0.5 < found[CELL].mean < 0.65
    assert found["large", "code"].mean == pytest.approx(0.8)


def test_where_categories_lie_far_apart_a_cell_rests_on_itself() -> None:
    """Neighbours of 0.1 and 0.9 say less about a cell than neighbours of 0.5 each."""
    typed = dict.fromkeys([CELL, *OTHERS], 0.5)
    own = {CELL: graded(0.9, 20)}
    alike = believe(own | {cell: graded(0.5, 500) for cell in OTHERS}, typed, 10 * DAY_S)[CELL]
    spread = {cell: graded(share, 500) for cell, share in zip(OTHERS, (0.1, 0.9, 0.1, 0.9), strict=True)}
    apart = believe(own | spread, typed, 10 * DAY_S)[CELL]
    assert apart.mean > alike.mean + 0.02


def test_old_answers_fade() -> None:
    fresh = believed(graded(0.6, 100, [10]))
    old = believe({CELL: graded(0.6, 100, [10])}, {CELL: 0.8}, 70 * DAY_S)[CELL]
    assert (fresh.answers, old.answers) == (pytest.approx(100), pytest.approx(50))
    assert fresh.mean < old.mean < 0.8


def test_a_fall_is_told_with_its_day_and_size() -> None:
    """50 answers a day: 0.85 for ten days, then 0.65 for five."""
    evidence = graded(0.85, 500)
    assert believed(evidence).fall is None
    for day in range(10, 15):
        evidence = update(evidence, Batch(SUITE, 50, 32.5, day * DAY_S))
    found = believe({CELL: evidence}, {CELL: 0.8}, 15 * DAY_S)[CELL].fall
    assert found is not None
    assert found.at_s == pytest.approx(10 * DAY_S, abs=1.5 * DAY_S)
    assert (found.before, found.after) == (pytest.approx(0.85, abs=0.02), pytest.approx(0.65, abs=0.04))
    assert 0.95 <= found.sureness <= 1
    for day in range(15, 25):  # it rose again
        evidence = update(evidence, Batch(SUITE, 50, 45, day * DAY_S))
    assert believe({CELL: evidence}, {CELL: 0.8}, 25 * DAY_S)[CELL].fall is None


def test_what_stays_as_it_was_is_seldom_said_to_have_fallen() -> None:
    falls = 0
    for seed in range(300):
        rng, evidence = random.Random(seed), Evidence()
        for day in range(15):
            evidence = update(evidence, Batch(SUITE, 40, sum(rng.random() < 0.8 for _ in range(40)), day * DAY_S))
        falls += believe({CELL: evidence}, {CELL: 0.8}, 15 * DAY_S)[CELL].fall is not None
    assert falls <= 6


def test_a_drop_takes_the_bound_with_it_within_two_hundred_answers() -> None:
    """500 answers of 0.85, then 200 of 0.75: the bound falls below a floor of 0.8. The mean of all would not."""
    evidence = graded(0.85, 500)
    before = believed(evidence)
    for day in range(10, 20):
        evidence = update(evidence, Batch(SUITE, 20, 15, day * DAY_S))
    after = believe({CELL: evidence}, {CELL: 0.8}, 20 * DAY_S)[CELL]
    assert before.bound > 0.8 > after.bound
    steady = believe({CELL: evidence}, {CELL: 0.8}, 20 * DAY_S, Rules(changes_per_answer=1e-12))[CELL]
    assert after.bound < steady.bound - 0.02


def test_a_thumb_counts_for_less_than_a_graded_answer() -> None:
    suite, feedback = believed(graded(0.6, 100)), believed(graded(0.6, 100, source=FEEDBACK))
    assert feedback.answers == pytest.approx(0.2 * suite.answers)
    assert set(feedback.sources) == {FEEDBACK}
    assert feedback.mean > suite.mean


def test_large_batches_that_agree_hint_at_no_change() -> None:
    found = believed(graded(0.8, 20_000, range(2)))
    assert found.bound > 0.79
