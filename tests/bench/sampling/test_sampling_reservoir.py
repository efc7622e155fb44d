"""Each item of a stream is equally likely to be kept, however long the stream is, and no more than k are held."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.sampling.strata import Reservoir


def filled(capacity: int, items: int, seed: int | str) -> Reservoir[int]:
    reservoir: Reservoir[int] = Reservoir(capacity, random.Random(seed))
    for item in range(items):
        reservoir.offer(item)
    return reservoir


def test_every_item_is_kept_equally_often_over_seeds() -> None:
    runs, items, capacity = 3_000, 30, 6
    kept = Counter(item for seed in range(runs) for item in filled(capacity, items, f"{seed}").draw(capacity))
    expected = runs * capacity / items  # 600, with a standard deviation of 22
    chi_square = sum((kept[item] - expected) ** 2 / expected for item in range(items)) / (1 - capacity / items)
    assert chi_square < 58.3  # 99.9 % of the distribution with 29 degrees of freedom


def test_fewer_are_drawn_as_evenly() -> None:
    runs = 4_000
    drawn = Counter(item for seed in range(runs) for item in filled(5, 20, f"{seed}").draw(1))
    assert sum((drawn[item] - 200) ** 2 / 200 for item in range(20)) < 43.8  # 99.9 %, 19 degrees of freedom


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(0, 300), st.integers())
def test_it_holds_at_most_its_capacity_and_draws_different_items_that_were_offered(
    capacity: int, items: int, seed: int
) -> None:
    reservoir = filled(capacity, items, seed)
    drawn = reservoir.draw(capacity)
    assert reservoir.seen == items
    assert len(reservoir) == len(drawn) == len(set(drawn)) == min(capacity, items)
    assert set(drawn) <= set(range(items))


def test_the_seed_decides() -> None:
    assert filled(5, 100, 1).draw(5) == filled(5, 100, 1).draw(5) != filled(5, 100, 2).draw(5)
