"""Redis holds sums of how comparisons ended, without any text. Workers read them as pairs and as a judge's bias."""

from __future__ import annotations

import time

import pytest

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import PAIRED_KEY, paired_key
from slo_router.contract.redis.link import AsyncClient
from slo_router.worker.learning.days import day_of
from slo_router.worker.pairing.comparisons import Comparisons, Control, compared, controlled, note

PREFIX = "t:"
NOW_S = time.time()


async def read(link: AsyncClient) -> Comparisons:
    found = Comparisons(PREFIX)
    await found.refresh(link, NOW_S)
    return found


async def test_comparisons_are_summed_by_pair_category_and_day(link: AsyncClient) -> None:
    """A deployment's win is the other's loss, whichever of them answered the user."""
    for one, other, score, at_s in (("b", "a", 1.0, NOW_S), ("a", "b", 1.0, NOW_S), ("a", "b", 0.5, NOW_S - DAY_S)):
        await note(link, PREFIX, at_s, compared(one, other, "chat", score, at_s))
    before, today = (await read(link)).rows
    assert (before[:3], before[3:6]) == (("a", "b", "chat"), (0, 1, 0))
    assert (today[:3], today[3:6]) == (("a", "b", "chat"), (1, 0, 1))
    assert (before.at_s, today.at_s) == (pytest.approx(NOW_S - DAY_S, abs=1), pytest.approx(NOW_S, abs=1))


async def test_verdicts_on_a_deployments_own_pairs_are_the_judges_and_no_comparison(link: AsyncClient) -> None:
    await note(link, PREFIX, NOW_S, controlled("judge", ["A", "A"]))
    await note(link, PREFIX, NOW_S, controlled("judge", ["A", "tie"]))
    found = await read(link)
    assert (found.rows, found.controls) == ([], {"judge": Control(first=3, second=0, tie=1)})


async def test_what_cannot_be_true_is_left_out_and_old_days_go(link: AsyncClient) -> None:
    await note(link, PREFIX, NOW_S - 120 * DAY_S, compared("a", "b", "chat", 1.0, NOW_S))
    day = day_of(NOW_S)
    await link.hset(paired_key(PREFIX, day), mapping={"no json": "1", '["a","b","chat","wins"]': "-3", '["a"]': "1"})
    await link.hset(PREFIX + PAIRED_KEY, day, "1")
    assert (await read(link)).rows == []
    assert await link.hlen(PREFIX + PAIRED_KEY) == 2
    await link.delete(PREFIX + PAIRED_KEY)
    await note(link, PREFIX, NOW_S, compared("a", "b", "chat", 0.0, NOW_S))
    assert [row.losses for row in (await read(link)).rows] == [1]


async def test_nothing_is_read_twice(link: AsyncClient) -> None:
    await note(link, PREFIX, NOW_S, compared("a", "b", "chat", 1.0, NOW_S))
    found = await read(link)
    rows = found.rows
    await found.refresh(link, NOW_S)
    assert found.rows is rows
