"""The gate's decision: exact on tables, never against a better run, and stricter for a larger drop."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.gate.paired import LEAST_ITEMS, difference, paired
from slo_bench.gate.ruling import LEAST_ITEMS as LEAST_JUDGED
from slo_bench.gate.ruling import LOOKS, Case, GatePolicy, judge
from tests.bench.gate.gate_runs import answers, scored

POLICY = GatePolicy()
few = settings(max_examples=40)
bits = st.integers(0, 1)
pairs = st.lists(st.tuples(bits, bits), min_size=1, max_size=60)


def test_a_difference_is_taken_over_the_common_items() -> None:
    before, after = scored([1, 1, 1, 1, 0, 1]), scored([1, 0, 1, 1, 0])  # the sixth item was not answered
    change = paired(before, after)
    assert change is not None
    assert (change.mean, change.items) == (-0.2, 5)
    # seven items with the two added: squares (1 + 2) / 7, mean −1 / 7
    assert change.standard_error == pytest.approx(((3 / 7 - 1 / 49) / 7) ** 0.5)


def test_too_few_items_have_no_difference() -> None:
    assert difference([0.0] * (LEAST_ITEMS - 1)) is None
    assert difference([0.0] * LEAST_ITEMS) is not None


@pytest.mark.parametrize(("fallen", "apart"), [(4, False), (6, True)])
def test_told_apart_is_as_the_exact_test_says(fallen: int, apart: bool) -> None:
    """Of 100 items, none rose: the sign test has p = 0.125 for four that fell, 0.031 for six."""
    change = difference([-1.0] * fallen + [0.0] * (100 - fallen))
    assert change is not None
    assert (change.interval()[1] < 0) == apart


@pytest.mark.parametrize(
    ("wrong", "look", "expected"),
    [
        (60, 1, "good"),  # as before
        (61, 1, "good"),  # one item may be chance
        (64, 1, "unsure"),  # 1 point, p = 0.05: more answers tell
        (64, LOOKS, "good"),
        (68, LOOKS, "good"),  # equal to the allowance, not above it
        (70, LOOKS, "regressed"),  # 2.5 points
        (80, 1, "regressed"),  # 5 points: surely not chance
        (40, 1, "better"),
    ],
)
def test_a_category_is_judged_by_chance_and_allowance(wrong: int, look: int, expected: str) -> None:
    rulings = judge({"ner": Case(answers(400, 60), answers(400, wrong))}, POLICY, look)
    assert rulings["ner"].judgement == expected


def test_a_larger_allowance_lets_more_pass() -> None:
    case = {"ner": Case(answers(400, 60), answers(400, 80))}
    assert judge(case, GatePolicy(allow_drop=0.06))["ner"].judgement == "good"


def test_a_drop_over_all_categories_is_found_though_no_category_shows_it() -> None:
    """Three points in each of three categories: p = 0.03 for one alone, 0.0004 together."""
    one = Case(answers(200, 20), answers(200, 26))
    rulings = judge(dict.fromkeys(("ner", "chat", "code"), one), POLICY)
    assert {ruling.judgement for ruling in rulings.values()} == {"regressed"}
    assert judge({"ner": one}, POLICY)["ner"].judgement == "good"


def test_a_category_that_did_not_drop_is_not_blamed_for_the_others() -> None:
    worse, same = Case(answers(200, 20), answers(200, 60)), Case(answers(200, 20), answers(200, 20))
    rulings = judge({"ner": worse, "chat": same}, POLICY)
    assert (rulings["ner"].judgement, rulings["chat"].judgement) == ("regressed", "good")


def test_too_few_common_items_are_not_judged() -> None:
    ruling = judge({"ner": Case(answers(LEAST_JUDGED - 1, 0), answers(LEAST_JUDGED - 1, 19))}, POLICY)["ner"]
    assert (ruling.judgement, ruling.change) == ("good", None)


@few
@given(pairs, st.integers(1, LOOKS), st.floats(0, 0.1))
def test_a_run_that_is_no_worse_never_alarms(items: list[tuple[int, int]], look: int, allow_drop: float) -> None:
    before, after = scored([min(pair) for pair in items]), scored([max(pair) for pair in items])
    assert judge({"ner": Case(before, after)}, GatePolicy(allow_drop), look)["ner"].judgement in {"good", "better"}


@few
@given(pairs, st.randoms(use_true_random=False))
def test_an_alarm_stays_when_more_items_fall(items: list[tuple[int, int]], random: Random) -> None:
    before = scored([first for first, _ in items])
    run = [float(second) for _, second in items]
    standing = [place for place, score in enumerate(run) if score]
    random.shuffle(standing)
    alarms = [judge({"ner": Case(before, scored(run))}, POLICY)["ner"].judgement == "regressed"]
    for place in standing:
        run[place] = 0.0
        alarms.append(judge({"ner": Case(before, scored(run))}, POLICY)["ner"].judgement == "regressed")
    assert all(later or not earlier for earlier, later in pairwise(alarms))


@few
@given(pairs, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_larger_allowance_never_alarms_more(items: list[tuple[int, int]], one: float, other: float) -> None:
    case = {"ner": Case(scored([first for first, _ in items]), scored([second for _, second in items]))}
    small, large = (judge(case, GatePolicy(allowance))["ner"].judgement for allowance in sorted((one, other)))
    assert small == "regressed" or large != "regressed"
