"""A typed number is a person's decision and counts unchanged. Graded answers are a sample and are judged as one."""

from __future__ import annotations

import pytest

from slo_router.contract.ages import DAY_S
from slo_router.contract.model import Facts, Metrics
from slo_router.quality.evidence import Batch
from slo_router.quality.judging import Graded, judge
from slo_router.quality.posterior import Belief, Rules
from slo_router.quality.sources import FEEDBACK

NOW_S = 1_800_000_000.0
TYPED = Facts("a", "m", quality={"default": 0.9})
UNTYPED = Facts("a", "m")


def graded(score: float, answers: int | None, age_s: float = 0.0) -> Metrics:
    return Metrics(NOW_S - 5, quality_score=score, quality_n=answers, quality_at_s=NOW_S - age_s)


def believed(
    facts: Facts, row: Metrics | None = None, said: tuple[Batch, ...] = (), rules: Rules | None = None
) -> Belief | None:
    """The belief in the category `ner`."""
    everything = Graded({} if row is None else {"a": {"ner": row}}, {"a": {"ner": said}} if said else {})
    return judge([facts], everything, NOW_S, rules or Rules()).get("a", {}).get("ner")


@pytest.mark.parametrize("facts", [TYPED, UNTYPED])
def test_where_nothing_was_graded_nothing_is_judged_and_the_typed_number_stays_as_it_is(facts: Facts) -> None:
    assert believed(facts) is None
    assert believed(facts, Metrics(NOW_S, 0.1)) is None
    assert believed(facts, graded(0.8, 0)) is None
    assert believed(facts, graded(0.8, None)) is None  # the number of answers is unknown


@pytest.mark.parametrize(("answers", "stands"), [(1, True), (19, True), (20, False), (1_000, False)])
def test_a_typed_number_stands_until_as_many_answers_came_as_it_counts_for(answers: int, stands: bool) -> None:
    found = believed(TYPED, graded(0.5, answers))
    assert found is not None
    assert ((found.mean, found.bound) == (0.9, 0.9)) is stands
    assert found.answers == pytest.approx(answers)  # the answers are stated nevertheless


def test_what_a_typed_number_counts_for_is_configurable() -> None:
    found = believed(TYPED, graded(0.5, 19), rules=Rules(prior_answers=1))
    assert found is not None
    assert found.mean == pytest.approx((0.9 + 19 * 0.5) / 20, abs=0.01)


def test_without_a_typed_number_the_bound_counts_from_the_first_answer_on() -> None:
    """For a floor of 0.85, nine good answers of ten may be luck; 900 of 1,000 are not."""
    few, many = believed(UNTYPED, graded(0.9, 10)), believed(UNTYPED, graded(0.9, 1_000))
    assert few is not None
    assert many is not None
    assert few.bound < 0.75 < few.mean
    assert 0.85 < many.bound < 0.9


def test_a_higher_confidence_lowers_the_bound_and_leaves_the_mean() -> None:
    usual, sure = (believed(TYPED, graded(0.9, 200), rules=Rules(confidence=level)) for level in (0.9, 0.99))
    assert usual is not None
    assert sure is not None
    assert sure.bound < usual.bound
    assert sure.mean == usual.mean


def test_old_answers_lower_the_bound_and_do_not_bring_the_typed_number_back() -> None:
    fresh, old = believed(TYPED, graded(0.7, 200)), believed(TYPED, graded(0.7, 200, age_s=400 * DAY_S))
    assert fresh is not None
    assert old is not None
    assert old.at_s == NOW_S - 400 * DAY_S
    assert old.answers == pytest.approx(200 / 2 ** (400 / 60), rel=0.01)
    assert old.mean - old.bound > fresh.mean - fresh.bound
    assert old.bound < 0.9


def test_feedback_weighs_less_than_a_graded_answer() -> None:
    said = (Batch(FEEDBACK, 100, 50, NOW_S - DAY_S),)
    suite, users = believed(UNTYPED, graded(0.5, 100)), believed(UNTYPED, said=said)
    assert suite is not None
    assert users is not None
    assert dict(users.sources) == {"feedback": pytest.approx(20, rel=0.02)}
    assert users.mean - users.bound > suite.mean - suite.bound


def test_two_hundred_bad_ratings_take_the_bound_below_the_floor_that_a_suite_had_shown_it_to_keep() -> None:
    row = graded(0.9, 1_000, age_s=3 * DAY_S)
    before, after = believed(TYPED, row), believed(TYPED, row, (Batch(FEEDBACK, 200, 20, NOW_S - DAY_S),))
    assert before is not None
    assert after is not None
    assert before.bound > 0.85 > after.bound
    assert set(after.sources) == {"suite", "feedback"}
