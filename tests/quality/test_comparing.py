"""Comparisons tell differences. Levels come from graded deployments, and no level counts twice."""

from __future__ import annotations

import pytest

from slo_router.contract.ages import DAY_S
from slo_router.contract.model import Facts, Metrics
from slo_router.quality.comparing import LEAN, Level, Net, Outcomes, together
from slo_router.quality.judging import Graded, judge
from slo_router.quality.posterior import Belief, Rules
from slo_router.quality.sources import PAIRED

NOW_S = 1_800_000_000.0


def outcomes(one: str, other: str, counts: tuple[float, float, float], age_s: float = 0.0) -> Outcomes:
    """Wins, ties and losses."""
    return Outcomes(one, other, "ner", *counts, NOW_S - age_s)


def suite(score: float, answers: int = 1_000) -> dict[str, Metrics]:
    return {"ner": Metrics(NOW_S, quality_score=score, quality_n=answers, quality_at_s=NOW_S)}


def believed(
    *rows: Outcomes, graded: dict[str, dict[str, Metrics]], typed: dict[str, float] | None = None
) -> dict[str, Belief]:
    """The beliefs by deployment, in the category `ner`."""
    facts = [
        Facts(name, "m", quality={"default": stated} if (stated := (typed or {}).get(name)) else {}) for name in "abc"
    ]
    found = judge(facts, Graded(graded, {}, rows), NOW_S, Rules())
    return {name: of["ner"] for name, of in found.items() if "ner" in of}


def test_a_deployment_that_is_as_good_as_a_graded_one_is_as_good_as_its_answers_say() -> None:
    found = believed(outcomes("b", "a", (150, 700, 150)), graded={"a": suite(0.9)})
    assert found["b"].mean == pytest.approx(0.9, abs=0.02)
    assert found["b"].bound < found["a"].bound  # more is known of the graded deployment
    assert set(found["b"].sources) == {PAIRED}
    assert set(found["a"].sources) == {"suite"}  # its own level does not come back to it


def test_who_loses_more_than_it_wins_lies_below_by_as_much_and_a_little_more() -> None:
    """400 of 1,000 lost and 100 won are 30 points; a judge that errs makes a difference look smaller."""
    found = believed(outcomes("a", "b", (400, 500, 100)), graded={"a": suite(0.9)})
    assert 0.9 - 0.3 * 1.25 < found["b"].mean < 0.9 - 0.3


def test_no_number_of_comparisons_says_more_than_is_known_of_the_other_and_of_the_judge() -> None:
    rows = outcomes("b", "a", (100_000, 800_000, 100_000))
    well, hardly = (believed(rows, graded={"a": suite(0.9, answers)})["b"].answers for answers in (100_000, 50))
    assert well < 0.9 * 0.1 / (2 * LEAN**2)
    assert hardly < 50


def test_comparisons_with_somebody_of_whom_nothing_is_known_say_nothing() -> None:
    assert believed(outcomes("b", "a", (10, 80, 10)), graded={}) == {}


def test_what_is_known_of_one_reaches_another_through_a_third() -> None:
    found = believed(outcomes("a", "b", (150, 700, 150)), outcomes("b", "c", (300, 600, 100)), graded={"a": suite(0.9)})
    assert found["c"].mean == pytest.approx(0.9 - 0.2 * 1.125, abs=0.03)
    assert found["c"].mean - found["c"].bound > found["b"].mean - found["b"].bound


def test_typed_numbers_lend_a_level_only_where_nobody_was_graded() -> None:
    """Otherwise a person who types too high numbers for ten deployments would outweigh the suite."""
    row, typed = outcomes("b", "c", (1_000, 8_000, 1_000)), {"a": 0.5, "b": 0.95, "c": 0.95}
    alone = believed(row, graded={}, typed=typed)
    assert alone["b"].mean == pytest.approx(0.95)
    beside = believed(row, graded={"a": suite(0.5)}, typed=typed)
    assert set(beside) == {"a"}


def test_a_typed_number_stands_until_comparisons_say_enough() -> None:
    typed = {"b": 0.9}
    few = believed(outcomes("b", "a", (0, 8, 12)), graded={"a": suite(0.9)}, typed=typed)
    many = believed(outcomes("b", "a", (0, 200, 500)), graded={"a": suite(0.9)}, typed=typed)
    assert (few["b"].mean, few["b"].bound) == (0.9, 0.9)
    assert many["b"].mean < 0.4


def test_rows_of_two_are_added_whichever_stands_first_and_fade() -> None:
    half_life_s = 60 * DAY_S
    (found,) = together(
        [outcomes("b", "a", (8, 4, 2), half_life_s), outcomes("a", "b", (1, 1, 1))], half_life_s
    ).values()
    assert found == Outcomes("a", "b", "ner", 1 + 1, 1 + 2, 1 + 4, NOW_S)


def test_deployments_that_are_gone_are_left_out() -> None:
    assert set(believed(outcomes("a", "gone", (0, 10, 90)), graded={"a": suite(0.9)})) == {"a"}


def test_a_level_leaves_out_what_is_known_of_its_own() -> None:
    """Whatever its own evidence: its level is the other deployment's level and the difference."""
    rows = [outcomes("a", "b", (0, 1_000_000, 0))]
    for own in (Level(0.2, 0.01), Level(0.99, 0.3), None):
        found = Net({"a": Level(0.8, 0.02), "b": own}, rows).from_others("b")
        assert found is not None
        assert found.mean == pytest.approx(0.8, abs=0.001)
        assert found.deviation == pytest.approx((0.02**2 + 2 * LEAN**2) ** 0.5, rel=0.01)
