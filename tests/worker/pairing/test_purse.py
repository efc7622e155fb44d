"""No call exceeds a day's budget, even if many workers spend at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from slo_router.contract.redis.link import AsyncClient
from slo_router.worker.pairing.asking import Reply
from slo_router.worker.pairing.purse import OverBudgetError, Purse, spent_usd
from tests.shared.days import stay_within_a_day

PREFIX = "t:"


@pytest.fixture(autouse=True)
def _one_day() -> None:
    stay_within_a_day(15.0)


def purse(link: AsyncClient, usd_per_day: float, group: str = "smart") -> Purse:
    async def use(work: Callable[[AsyncClient], Awaitable[None]]) -> None:
        await work(link)

    return Purse(use, PREFIX, group, usd_per_day)


async def spent(link: AsyncClient) -> float:
    return (await spent_usd(link, PREFIX, time.time())).get("smart", 0.0)


def costs(usd: float | None) -> Callable[[], Awaitable[Reply]]:
    async def call() -> Reply:
        return Reply("", usd, is_whole=True)

    return call


async def test_what_was_not_spent_is_given_back(link: AsyncClient) -> None:
    await purse(link, 1.0).pay(0.9, costs(0.2))
    assert await spent(link) == pytest.approx(0.2)
    await purse(link, 1.0, "another").pay(0.9, costs(0.9))
    assert await spent(link) == pytest.approx(0.2)


async def test_a_call_that_may_pass_the_budget_is_not_made(link: AsyncClient) -> None:
    async def never() -> Reply:
        raise AssertionError

    await purse(link, 1.0).pay(0.9, costs(0.2))
    with pytest.raises(OverBudgetError):
        await purse(link, 1.0).pay(0.9, never)
    assert await spent(link) == pytest.approx(0.2)


@pytest.mark.parametrize("fails", [True, False])
async def test_where_the_bill_is_unknown_all_of_it_is_spent(link: AsyncClient, fails: bool) -> None:
    async def breaks() -> Reply:
        raise RuntimeError

    if fails:
        with pytest.raises(RuntimeError):
            await purse(link, 1.0).pay(0.9, breaks)
    else:
        await purse(link, 1.0).pay(0.9, costs(None))
    assert await spent(link) == pytest.approx(0.9)


async def test_many_at_once_do_not_pass_it_together(link: AsyncClient) -> None:
    async def slow() -> Reply:
        await asyncio.sleep(0.05)
        return Reply("", 0.3, is_whole=True)

    calls = [purse(link, 1.0).pay(0.3, slow) for _ in range(20)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    made = sum(isinstance(one, Reply) for one in found)
    assert 0 < made <= 3
    assert all(isinstance(one, Reply | OverBudgetError) for one in found)
    assert await spent(link) == pytest.approx(0.3 * made)
