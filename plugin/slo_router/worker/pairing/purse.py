"""What comparisons of all workers cost in a day (UTC). No call passes the budget, for it is paid beforehand.

    {prefix}slo_router:paired:usd:{day}   hash, group → USD that are spent or set aside; gone after two days

Before a call the most that it can cost is set aside. If the sum then passes the budget, the amount is taken back, and
no call is made. After the call the rest is taken back, if the bill is known. If a worker dies in between, the whole
amount counts as spent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import paired_usd_key
from slo_router.contract.redis.link import AsyncClient
from slo_router.worker.learning.days import day_of
from slo_router.worker.pairing.asking import Reply

KEPT_S = round(2 * DAY_S)

Use = Callable[[Callable[[AsyncClient], Awaitable[None]]], Awaitable[object]]


class OverBudgetError(Exception):
    """A call may pass the day's budget: it is not made."""


class Purse:
    """A group's budget, USD a day. `use` gives a client of Redis; it raises ToldError where that fails."""

    def __init__(self, use: Use, prefix: str, group: str, usd_per_day: float) -> None:
        self._use = use
        self._prefix = prefix
        self._group = group
        self._usd_per_day = usd_per_day

    async def pay(self, most_usd: float, call: Callable[[], Awaitable[Reply]]) -> Reply:
        """Makes a call that costs at most `most_usd`. Raises OverBudgetError, and whatever the call raises."""
        key = paired_usd_key(self._prefix, day_of(time.time()))
        if await self._add(key, most_usd) > self._usd_per_day:
            await self._add(key, -most_usd)
            raise OverBudgetError
        reply = await call()  # if that fails, what was set aside counts as spent
        if reply.usd is not None:
            await self._add(key, reply.usd - most_usd)
        return reply

    async def _add(self, key: str, usd: float) -> float:
        sums: list[float] = []

        async def work(client: AsyncClient) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.hincrbyfloat(key, self._group, usd)
            pipeline.expire(key, KEPT_S)
            after, _ = await pipeline.execute()
            sums.append(float(after))

        await self._use(work)
        return sums[0]


async def spent_usd(client: AsyncClient, prefix: str, now_s: float) -> dict[str, float]:
    """What is spent and set aside today, USD by group."""
    said = await client.hgetall(paired_usd_key(prefix, day_of(now_s)))
    return {str(group): float(usd) for group, usd in said.items()}
