"""Equally many of each category; within it each stratum by its share, but at least a few; never more than fit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.sampling.candidate import Candidate, Message
from slo_bench.sampling.strata import MAX_CATEGORIES, StratifiedSample, Stratum, allocate, stratum_of


def request(category: str = "chat", *, stream: bool = False, tokens: int | None = 10, text: str = "Hi") -> Candidate:
    return Candidate(category, stream, [Message("user", text)], tokens)


@pytest.mark.parametrize(
    ("tokens", "band"),
    [(1, 0), (255, 0), (256, 1), (1_023, 1), (1_024, 2), (4_095, 2), (4_096, 3), (16_383, 3), (16_384, 4)],
)
def test_bands_begin_at_their_edge(tokens: int, band: int) -> None:
    assert stratum_of(request(tokens=tokens)) == Stratum("chat", band, False)


def test_a_length_that_was_not_counted_is_estimated_from_all_texts() -> None:
    parts: list[Mapping[str, object]] = [{"type": "text", "text": "x" * 2_000}, {"type": "text", "text": "x" * 2_000}]
    call = {"function": {"name": "f", "arguments": "x" * 2_000}}
    messages = [Message("user", parts), Message("assistant", tool_calls=[call]), Message("tool", "x" * 2_000)]
    assert 2_000 <= Candidate("chat", False, messages).tokens() < 2_050


def test_places_follow_the_shares() -> None:
    a, b, c = (Stratum("chat", band, True) for band in range(3))
    # 80 : 15 : 5 of 20 places is 16 : 3 : 1
    assert allocate({a: 800, b: 150, c: 50}, 20, 0) == {a: 16, b: 3, c: 1}
    # a floor of 3 takes 2 places from the largest for c
    assert allocate({a: 800, b: 150, c: 50}, 20, 3) == {a: 14, b: 3, c: 3}
    # one of a thousand would get none
    assert allocate({a: 1_000, b: 1}, 10, 2) == {a: 9, b: 1}


counts = st.dictionaries(
    st.builds(Stratum, st.just("chat"), st.integers(0, 4), st.booleans()), st.integers(1, 10_000), min_size=1
)


@settings(max_examples=25, deadline=None)
@given(counts, st.integers(1, 60), st.integers(0, 5))
def test_all_places_are_given_and_none_twice(seen: dict[Stratum, int], total: int, floor: int) -> None:
    taken = allocate(seen, total, floor)
    assert sum(taken.values()) == min(total, sum(seen.values()))
    assert all(min(floor, total // len(seen), seen[one]) <= taken[one] <= seen[one] for one in seen)


@settings(max_examples=25, deadline=None)
@given(counts, st.integers(1, 60))
def test_a_larger_stratum_never_gets_fewer(seen: dict[Stratum, int], total: int) -> None:
    taken = allocate(seen, total, 0)
    ordered = sorted(seen, key=lambda one: seen[one])
    assert all(taken[less] <= taken[more] for less, more in pairwise(ordered) if seen[less] < seen[more])


def test_rare_categories_get_as_many_as_frequent_ones() -> None:
    sample = StratifiedSample(5, 1, random.Random(0))
    for number in range(1_000):
        assert sample.offer(request("ner" if number % 100 == 0 else "chat", stream=number % 3 == 0))
    drawn, shares = sample.draw()
    assert [one.category for one in drawn] == ["chat"] * 5 + ["ner"] * 5
    assert sum(share.seen for share in shares) == 1_000
    assert sum(share.taken for share in shares) == 10


def test_categories_beyond_what_is_held_are_refused() -> None:
    sample = StratifiedSample(1, 0, random.Random(0))
    accepted = [sample.offer(request(f"c{number}")) for number in range(MAX_CATEGORIES + 3)]
    assert accepted == [True] * MAX_CATEGORIES + [False] * 3
    assert sample.offer(request("c0"))
