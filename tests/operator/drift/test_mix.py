"""A changed mix of tasks is reported. Chance, bursts and rhythms are not mistaken for a change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from slo_router.operator.drift.mix import MOST_MOMENTS, Change, Mix, MixChange, changes, even

TASKS = ("chat", "code", "ner", "reasoning", "summarization", "unsure")
EVEN = (0.5, 0.2, 0.1, 0.1, 0.05, 0.05)


def mix_of(categories: Iterable[str], at_once: int = 5) -> Mix:
    mix = Mix()
    for number, category in enumerate(categories):
        mix.add("smart", category, number // at_once)
    return mix


def independent(rng: random.Random, count: int, weights: tuple[float, ...] = EVEN) -> list[str]:
    return rng.choices(TASKS, weights, k=count)


def in_bursts(rng: random.Random, count: int) -> list[str]:
    """Bursts of one task, ten requests long on average, as in conversations and batch jobs."""
    found: list[str] = []
    while len(found) < count:
        found += rng.choices(TASKS, EVEN) * rng.randint(1, 20)
    return found[:count]


@pytest.mark.parametrize("traffic", [independent, in_bursts])
def test_the_same_mix_is_seldom_taken_for_another(traffic: Callable[[random.Random, int], list[str]]) -> None:
    alarms = sum(bool(mix_of(traffic(random.Random(seed), 1_000)).changes()) for seed in range(60))
    assert alarms <= 2  # 0.5 % of 60 is 0.3


def test_what_grew_and_what_shrank_is_named() -> None:
    rng, late = random.Random(1), (0.25, 0.45, 0.1, 0.1, 0.05, 0.05)
    (found,) = mix_of([*independent(rng, 500), *independent(rng, 500, late)]).changes()
    assert (found.group, found.requests) == ("smart", 500)
    assert [one.category for one in found.changes] == ["code", "chat"]
    grew, shrank = found.changes
    assert grew.before == pytest.approx(0.2, abs=0.06)
    assert grew.after == pytest.approx(0.45, abs=0.06)
    assert shrank.after < shrank.before


def test_most_of_a_shift_by_15_points_is_told_once_400_requests_show_it() -> None:
    late, hits = (0.35, 0.35, 0.1, 0.1, 0.05, 0.05), 0
    for seed in range(20):
        rng = random.Random(seed)
        hits += bool(mix_of([*independent(rng, 600), *independent(rng, 400, late)]).changes())
    assert hits >= 14


def test_a_new_task_is_told_though_it_is_rare() -> None:
    rng = random.Random(2)
    late = [name if rng.random() > 0.06 else "legal" for name in independent(rng, 500)]
    (found,) = mix_of([*independent(rng, 500), *late]).changes()
    assert [(one.category, one.before) for one in found.changes] == [("legal", 0.0)]


def test_a_rhythm_is_no_change() -> None:
    """In these two weeks users ask for code by day and for chat by night."""
    rng, mix = random.Random(3), Mix()
    for hour in range(14 * 24):
        weights = (0.2, 0.8) if 8 <= hour % 24 < 18 else (0.8, 0.2)
        for name in rng.choices(("chat", "code"), weights, k=20):
            mix.add("smart", name, 3_600 * hour)
    assert mix.changes() == ()


def test_by_hand() -> None:
    """20 blocks of 10 requests: first all of `a`, then all of `b`."""
    blocks = [Counter(a=10)] * 10 + [Counter(b=10)] * 10
    assert changes(blocks) == (Change("b", 0.0, 1.0), Change("a", 1.0, 0.0))
    assert changes(blocks[1:]) == ()  # too few blocks
    assert changes([Counter(a=9)] * 10 + [Counter(b=9)] * 10) == ()  # too few requests
    assert changes([Counter(a=10)] * 20) == ()
    assert changes([]) == ()


def test_neighbours_are_put_together_until_blocks_are_alike() -> None:
    blocks = even([Counter(a=1)] * 400)
    assert {sum(block.values()) for block in blocks} == {10}
    assert len(blocks) == 40
    assert sum(sum(block.values()) for block in even([Counter(a=7), *[Counter(a=3, b=1)] * 99])) == 403


def test_a_long_period_is_kept_in_few_moments_in_whatever_order_it_is_read() -> None:
    rng, year_s = random.Random(6), 365 * 86_400
    late = (0.25, 0.45, 0.1, 0.1, 0.05, 0.05)
    mix = Mix()
    for at_s in (rng.uniform(0, year_s) for _ in range(20_000)):
        mix.add("smart", rng.choices(TASKS, late if at_s > year_s / 2 else EVEN)[0], at_s)
    assert len(mix._groups["smart"].in_order()) <= MOST_MOMENTS
    (found,) = mix.changes()
    assert [one.category for one in found.changes] == ["code", "chat"]


def test_groups_are_told_apart() -> None:
    rng, mix = random.Random(4), mix_of(independent(random.Random(5), 1_000))
    for number in range(1_000):
        mix.add("other", rng.choice(("chat", "code")) if number < 500 else "code", number // 5)
    assert [one.group for one in mix.changes()] == ["other"]
    assert isinstance(mix.changes()[0], MixChange)
