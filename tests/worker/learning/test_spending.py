"""What a group spends in a day, summed over all workers in Redis."""

from __future__ import annotations

import pytest
import redis.exceptions

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import spent_key
from slo_router.contract.redis.link import AsyncClient, connect
from slo_router.worker.learning.days import day_of
from slo_router.worker.learning.spending import Spending

PREFIX = "t:"
MIDNIGHT_S = 20_000 * DAY_S
NOON_S = MIDNIGHT_S + DAY_S / 2


def spending(requests: int, usd: float | None = 0.01, at_s: float = NOON_S) -> Spending:
    found = Spending(PREFIX)
    for _ in range(requests):
        found.spent("smart", usd, at_s)
    return found


def test_what_is_left_is_for_the_rest_of_the_day() -> None:
    """100 requests by noon cost 1 of 10 USD, of which 0.2 stay in reserve: the next hundred may cost 0.088 each."""
    assert spending(100).each_usd("smart", 10.0, NOON_S) == pytest.approx(0.088)
    assert spending(100).each_usd("smart", 1.0, NOON_S) == 0.0
    assert spending(100).each_usd("other", 10.0, NOON_S) == 9.8  # no requests yet: the next may cost it all
    assert spending(100, None).each_usd("smart", 10.0, NOON_S) == pytest.approx(0.098)  # cost unknown


def test_a_day_ends_at_midnight_and_without_a_redis_two_are_kept() -> None:
    one = spending(100)
    assert one.each_usd("smart", 10.0, NOON_S + DAY_S) == pytest.approx(9.8 / 50)  # as many as yesterday, half is left
    one.spent("smart", 4.0, NOON_S + 2 * DAY_S)
    one.spent("smart", 4.0, NOON_S + DAY_S)
    assert one.each_usd("smart", 10.0, NOON_S) == 9.8  # sums of a day that is over do not count


def test_requests_right_after_midnight_do_not_make_a_day_of_as_many_each_second() -> None:
    young_s = MIDNIGHT_S + 1.0
    assert spending(10, at_s=young_s).each_usd("smart", 10.0, young_s) == pytest.approx(9.7 / (10 * 24), rel=1e-4)


async def test_all_workers_spend_together_and_yesterday_says_how_many_requests_come(link: AsyncClient) -> None:
    await spending(1_000, at_s=NOON_S - DAY_S).settle(link, NOON_S)
    first, second = spending(100), spending(100)
    for one in (first, second, first):
        await one.settle(link, NOON_S)
    for one in (first, second):
        assert one.each_usd("smart", 12.0, NOON_S) == pytest.approx(9.76 / 500)
    first.spent("smart", 1.0, NOON_S)  # not written yet
    assert first.each_usd("smart", 12.0, NOON_S) == pytest.approx(8.76 / 500)
    assert await link.ttl(spent_key(PREFIX, day_of(NOON_S))) > DAY_S


async def test_what_could_not_be_written_is_written_later(link: AsyncClient) -> None:
    one, nowhere = spending(100), connect("redis://127.0.0.1:1/0")
    with pytest.raises(redis.exceptions.ConnectionError):
        await one.settle(nowhere, NOON_S)
    await nowhere.aclose()
    await one.settle(link, NOON_S)
    other = Spending(PREFIX)
    await other.settle(link, NOON_S)
    assert other.each_usd("smart", 10.0, NOON_S) == pytest.approx(0.088)


async def test_what_makes_no_sense_in_redis_is_left_out(link: AsyncClient) -> None:
    await spending(100).settle(link, NOON_S)
    for field, text in (("other:usd", "much"), ("smart:euros", "4"), ("nothing", "1"), ("last:requests", "-1")):
        await link.hset(spent_key(PREFIX, day_of(NOON_S)), field, text)
    one = Spending(PREFIX)
    await one.settle(link, NOON_S)
    assert one.each_usd("smart", 10.0, NOON_S) == pytest.approx(0.088)
    assert one.each_usd("other", 10.0, NOON_S) == 9.8
