"""Weak signals only lower a quality, and only a little, however wrong they are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.quality.floor_coverage import DAYS, FLOORS, NOISE, WORLDS, Truth, fleet, graded
from slo_router.contract.ages import DAY_S
from slo_router.contract.model import Facts, Metrics
from slo_router.quality.evidence import Batch
from slo_router.quality.judging import Graded, judge
from slo_router.quality.posterior import Belief, Rules, believe
from slo_router.quality.sources import IMPLICIT
from slo_router.quality.weak import lowered

NOW_S = 1_800_000_000.0
HEARD = Rules(hears_signals=True)
TYPED = Facts("a", "m", quality={"default": 0.9})


def believed(signals: float, answers: float, facts: Facts = TYPED, row: Metrics | None = None) -> Belief | None:
    """The belief in the category `ner`, if `signals` of `answers` checked answers had a signal."""
    fed = {"a": {"ner": (Batch(IMPLICIT, answers, answers - signals, NOW_S),)}}
    everything = Graded({} if row is None else {"a": {"ner": row}}, fed)
    return judge([facts], everything, NOW_S, HEARD).get("a", {}).get("ner")


def suite(score: float, answers: int) -> Metrics:
    return Metrics(NOW_S, quality_score=score, quality_n=answers, quality_at_s=NOW_S)


def test_signals_lower_a_typed_number_by_half_of_what_they_say_at_most() -> None:
    """Of 1,000 answers 400 had a signal, of which 320 are taken to be right: hardly more than 0.68."""
    found = believed(400, 1_000)
    assert found is not None
    assert (found.mean, found.bound) == (pytest.approx((0.9 + 0.68) / 2), pytest.approx(0.79))
    assert dict(found.sources) == {IMPLICIT: pytest.approx(20)}
    assert (found.answers, found.typed, found.at_s) == (0, 0.9, NOW_S)
    assert believed(40_000, 100_000) == found  # more signals say no more


def test_few_answers_say_next_to_nothing() -> None:
    found = believed(1, 1)
    assert found is not None
    assert found.mean == pytest.approx(0.9, abs=0.001)


def test_answers_without_a_signal_are_no_success() -> None:
    found, low = believed(0, 100_000), believed(0, 100_000, Facts("a", "m", quality={"default": 0.3}))
    assert found is not None
    assert low is not None
    assert (found.mean, found.bound, low.mean, low.bound) == (0.9, 0.9, 0.3, 0.3)


def test_against_graded_answers_they_hardly_count() -> None:
    row = suite(0.9, 1_000)
    without, found = judge([TYPED], Graded({"a": {"ner": row}}), NOW_S)["a"]["ner"], believed(4_000, 10_000, row=row)
    assert found is not None
    assert 0.003 < without.mean - found.mean < 0.005
    assert without.bound - found.bound == pytest.approx(without.mean - found.mean)
    assert found.answers == without.answers


def test_what_is_unknown_stays_unknown() -> None:
    assert believed(400, 1_000, Facts("a", "m")) is None


def test_nothing_is_lowered_in_a_group_that_does_not_ask_for_it() -> None:
    fed = {"a": {"ner": (Batch(IMPLICIT, 1_000, 600, NOW_S),)}}
    assert judge([TYPED], Graded({}, fed), NOW_S, Rules()) == {}


SHARES = st.floats(0, 1)
BELIEFS = st.builds(
    lambda mean, below, known, typed: Belief(mean, mean * below, known, {}, None, typed),
    *(SHARES, SHARES, st.floats(0, 1e4), st.none() | SHARES),
)


@given(before=BELIEFS, answers=st.floats(0, 1e6), share=SHARES)
def test_neither_mean_nor_bound_ever_rises(before: Belief, answers: float, share: float) -> None:
    found = lowered(before, [Batch(IMPLICIT, answers, share * answers, NOW_S)], NOW_S, HEARD)
    assert 0 <= found.bound <= before.bound
    assert min(before.mean, 0.2) - 1e-9 <= found.mean <= before.mean


def test_a_floor_is_kept_as_often_where_a_fifth_of_the_signals_is_wrong() -> None:
    """In a world of `floor_coverage`, each bad answer has a signal. In a fifth of all answers the signal is wrong."""
    rng = random.Random(0)
    counts = {"without": [0, 0], "with": [0, 0]}
    for _ in range(4):
        typed, truths = fleet(rng, WORLDS[2])
        evidence = {cell: graded(rng, truth, 20, WORLDS[2]) for cell, truth in truths.items()}
        beliefs = believe(evidence, typed, DAYS * DAY_S)
        for cell, belief in beliefs.items():
            weak = lowered(belief, [signals(rng, truths[cell])], DAYS * DAY_S, HEARD)
            assert weak.bound <= belief.bound
            for name, bound in (("without", belief.bound), ("with", weak.bound)):
                for floor in FLOORS:
                    counts[name][0] += bound >= floor
                    counts[name][1] += bound >= floor > truths[cell].now
    assert counts["with"][1] <= counts["without"][1]
    shares = {name: violated / reached for name, (reached, violated) in counts.items()}
    assert shares["with"] <= shares["without"] + 0.005
    assert shares["with"] < 0.1


def signals(rng: random.Random, truth: Truth) -> Batch:
    """The signals of 1,000 checked answers."""
    good = sum((rng.random() < truth.now) is not (rng.random() < NOISE) for _ in range(1_000))
    return Batch(IMPLICIT, 1_000, good, DAYS * DAY_S)
