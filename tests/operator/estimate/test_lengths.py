"""How much longer another model's answers are, learned from the rows; and the interval of a saved share."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from slo_router.operator.estimate.lengths import ASSUMED, Lengths
from slo_router.operator.estimate.reading.rows import Row
from slo_router.operator.estimate.resampling import Block, saved_interval
from tests.operator.estimate.worlds import row, totals_of


def mixed(count: int, times: float, *, seed: int = 1, group: str = "big") -> Iterator[Row]:
    """A group that sends every second request to `small`, whose answers are `times` as long."""
    rng = random.Random(seed)
    for number in range(count):
        tokens = max(1, round(rng.lognormvariate(5, 0.8)))
        plain = row(number, prompt_tokens=rng.choice([100, 900, 3_000]), answer_tokens=tokens, group=group)
        is_other = number % 2
        yield (
            plain._replace(served="small", model="openai/small", answer_tokens=round(times * tokens))
            if is_other
            else plain
        )


def test_the_ratio_is_learned_where_one_group_sent_requests_to_both() -> None:
    totals = totals_of(mixed(4_000, 1.6))
    factor = Lengths(totals.strata(), totals.models).learned("big", "chat", "large", "small")
    assert factor is not None
    assert factor.low < 1.6 < factor.high
    assert factor.middle == pytest.approx(1.6, rel=0.1)
    assert (factor.source, factor.answers) == ("learned", 2_000)


def test_its_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    held = 0  # of 60 intervals
    for seed in range(60):
        totals = totals_of(mixed(600, 1.6, seed=seed))
        factor = Lengths(totals.strata(), totals.models).learned("big", "chat", "large", "small")
        assert factor is not None
        held += factor.low <= 1.6 <= factor.high
    assert held >= 52


def test_too_few_answers_or_another_group_teach_nothing() -> None:
    few = totals_of(mixed(80, 1.6))
    assert Lengths(few.strata(), few.models).learned("big", "chat", "large", "small") is None
    apart = totals_of([*(row(number) for number in range(200)), *mixed(200, 1.6, group="other")])
    assert Lengths(apart.strata(), apart.models).learned("big", "chat", "large", "small") is None
    assert (ASSUMED.low, ASSUMED.middle, ASSUMED.high) == (0.5, 1.0, 2.0)


def test_the_interval_of_the_share_holds_it_nineteen_times_in_twenty() -> None:
    held, runs = 0, 40
    for seed in range(runs):
        rng = random.Random(seed)
        spent = [rng.lognormvariate(0, 1.0) for _ in range(60)]
        blocks = [Block(usd, usd * (0.2 if rng.random() < 0.5 else 1.0)) for usd in spent]  # 40 % saved
        interval = saved_interval(blocks)
        assert interval is not None
        held += interval.low <= 0.4 <= interval.high
    assert held >= 0.85 * runs


def test_nothing_spent_has_no_interval() -> None:
    assert saved_interval([Block(0.0, 0.0)] * 5) is None
