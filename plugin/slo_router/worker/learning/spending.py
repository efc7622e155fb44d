"""What all workers have spent today, by group: sums in Redis, for targets in USD a day.

    {prefix}slo_router:spent:{day}   hash, `{group}:usd` and `{group}:requests`; gone after two days

Days are UTC, and a request counts on the day on which it ended. A request of unknown cost counts as a request, but adds
no USD. If a write breaks, its sums are written again: at worst they count twice, and less is spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

from slo_router.contract.ages import DAY_S, HOUR_S
from slo_router.contract.keys import spent_key
from slo_router.contract.metrics_hash import number
from slo_router.contract.redis.link import AsyncClient
from slo_router.worker.learning.days import day_of

USD, REQUESTS = "usd", "requests"  # the last part of a field's name
KEPT_DAYS = 2  # today and the day before
RESERVE = 0.02  # of a day's USD: kept for the cheapest answers after the rest is spent


class Spent(NamedTuple):
    """USD spent, by how many requests."""

    usd: float = 0.0
    requests: float = 0.0

    def plus(self, other: Spent) -> Spent:
        """The sum of both."""
        return Spent(self.usd + other.usd, self.requests + other.requests)


Sums = Mapping[str, Spent]  # by group


class Spending:
    """One worker's view. Without Redis it knows only its own requests. Times are Unix seconds."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._own: dict[str, dict[str, Spent]] = {}  # not written yet, by day
        self._read: Mapping[str, Sums] = {}  # what Redis has, by day: today and the day before

    def spent(self, group: str, usd: float | None, at_s: float) -> None:
        """A request of the group ended, at `at_s`. It cost `usd`, `None` where that is unknown."""
        self._add(day_of(at_s), group, Spent(usd or 0.0, 1.0))

    def each_usd(self, group: str, usd_per_day: float, now_s: float) -> float:
        """What each further request of this day may cost, in USD.

        The day is expected to get as many requests as yesterday, or to go on as so far, whichever is more. In its first
        hour the requests so far count as a whole hour's: a few requests at midnight say little of the day.
        """
        today, before = (self._on(day_of(at_s), group) for at_s in (now_s, now_s - DAY_S))
        gone = max(now_s % DAY_S, 1.0) / DAY_S
        a_day = max(before.requests, today.requests / max(gone, HOUR_S / DAY_S))
        return max((1 - RESERVE) * usd_per_day - today.usd, 0.0) / max(a_day * (1 - gone), 1.0)

    async def settle(self, client: AsyncClient, now_s: float) -> None:
        """Writes what this worker's requests spent, and reads what all requests spent. Raises redis errors."""
        days = day_of(now_s), day_of(now_s - DAY_S)
        own, self._own = self._own, {}
        pipeline = client.pipeline(transaction=False)
        for day, sums in own.items():
            for group, spent in sums.items():
                pipeline.hincrbyfloat(spent_key(self._prefix, day), f"{group}:{USD}", spent.usd)
                pipeline.hincrbyfloat(spent_key(self._prefix, day), f"{group}:{REQUESTS}", spent.requests)
            pipeline.expire(spent_key(self._prefix, day), round(KEPT_DAYS * DAY_S))
        for day in days:
            pipeline.hgetall(spent_key(self._prefix, day))
        try:
            *_, today, before = await pipeline.execute()
        except BaseException:
            for day, sums in own.items():
                for group, spent in sums.items():
                    self._add(day, group, spent)
            raise
        self._read = dict(zip(days, (_read(today), _read(before)), strict=True))

    def _add(self, day: str, group: str, spent: Spent) -> None:
        sums = self._own.setdefault(day, {})
        sums[group] = sums.get(group, Spent()).plus(spent)
        while len(self._own) > KEPT_DAYS:  # without Redis `settle` does not clear them
            del self._own[min(self._own)]

    def _on(self, day: str, group: str) -> Spent:
        return self._read.get(day, {}).get(group, Spent()).plus(self._own.get(day, {}).get(group, Spent()))


def _read(said: object) -> Sums:
    found: dict[str, Spent] = {}
    for field, text in cast("Mapping[str, str]", said).items():
        group, _, part = field.rpartition(":")
        value = number(text)
        if value is not None and part in (USD, REQUESTS):
            found[group] = found.get(group, Spent()).plus(Spent(**{part: value}))
    return found
