"""Sums by day that workers and commands add up in Redis: one hash for each day, and one that says which days changed.

    index   hash, day → how many entries it has: says which days to read again
    day     hash, sums by name; gone after `KEPT_DAYS`

Days are UTC. A round costs one command, and one more for each day that has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import cast

from slo_router.contract.ages import DAY_S
from slo_router.contract.redis.link import AsyncClient
from slo_router.worker.tasks.turns import give_way

KEPT_DAYS = 90


class Days:
    """One reader's view; `hashes` is by day."""

    def __init__(self, index: str, key_of: Callable[[str], str]) -> None:
        self._index = index
        self._key_of = key_of
        self._counts: Mapping[str, str] = {}  # by day, as read
        self.hashes: Mapping[str, Mapping[str, str]] = {}

    async def refresh(self, client: AsyncClient, now_s: float) -> bool:
        """Reads the days that have changed, and returns whether any has. Raises redis errors; nothing then changes."""
        since = day_of(now_s - KEPT_DAYS * DAY_S)
        said = _text(await client.hgetall(self._index))
        counts = {day: count for day, count in said.items() if day > since and is_day(day)}
        if counts == self._counts:
            return False
        days = {day: self.hashes[day] for day in counts if self._counts.get(day) == counts[day]}
        for day in sorted(counts.keys() - days.keys()):
            days[day] = _text(await client.hgetall(self._key_of(day)))
            await give_way()
        self._counts, self.hashes = counts, dict(sorted(days.items()))
        return True


def day_of(at_s: float) -> str:
    """Unix seconds as `2026-11-30`, UTC."""
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()


def began_s(day: str) -> float:
    """When a day began, Unix seconds."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def is_day(text: str) -> bool:
    """Whether `text` is a day as `day_of` writes it."""
    try:
        return datetime.fromisoformat(text).date().isoformat() == text
    except ValueError:
        return False


async def drop_old(client: AsyncClient, index: str, now_s: float) -> None:
    """Removes the days from an index whose hashes are gone."""
    oldest = day_of(now_s - KEPT_DAYS * DAY_S)
    gone = [one for one in map(str, await client.hkeys(index)) if one <= oldest]
    if gone:
        await client.hdel(index, *gone)


def _text(said: object) -> Mapping[str, str]:
    """A hash as our clients return it. redis-py's types do not know that it is text."""
    return cast("Mapping[str, str]", said)
