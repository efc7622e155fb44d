"""How comparisons ended: sums by pair, category and day, in Redis. No text is among them.

    {prefix}slo_router:paired         hash, day → how many comparisons it has, see `days`
    {prefix}slo_router:paired:{day}   hash, a JSON list → a sum:
                                      [one, other, category, "wins" | "ties" | "losses" | "seconds"], `one` < `other`
                                      [judge, "first" | "second" | "tie"], verdicts on two answers of one deployment

Comparisons of a day count at their mean time. Values that cannot be true are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from slo_router.contract.ages import DAY_S
from slo_router.contract.judge.verdicts import Winner
from slo_router.contract.keys import PAIRED_KEY, paired_key
from slo_router.contract.metrics_hash import number
from slo_router.contract.redis.link import AsyncClient
from slo_router.quality.comparing import Outcomes
from slo_router.worker.learning.days import KEPT_DAYS, Days, began_s, day_of, drop_old

ENDS = ("wins", "ties", "losses")
SECONDS = "seconds"
POSITIONS: Mapping[Winner, str] = {"A": "first", "B": "second", "tie": "tie"}


class Control(NamedTuple):
    """A judge's verdicts on two answers of one deployment: how often it preferred the first, the second, or neither."""

    first: float = 0.0
    second: float = 0.0
    tie: float = 0.0


class Comparisons:
    """One reader's view; `rows` and `controls` (by judge) are replaced where something has changed."""

    def __init__(self, prefix: str) -> None:
        self._days = Days(prefix + PAIRED_KEY, partial(paired_key, prefix))
        self.rows: Sequence[Outcomes] = ()
        self.controls: Mapping[str, Control] = {}

    async def refresh(self, client: AsyncClient, now_s: float) -> None:
        """Reads the days that have changed. Raises redis errors; everything then stays as it was."""
        if await self._days.refresh(client, now_s):
            days = {day: _sums(fields) for day, fields in self._days.hashes.items()}
            self.rows = [row for day, sums in days.items() for row in _rows(began_s(day), sums)]
            self.controls = _controls(days.values())


async def note(client: AsyncClient, prefix: str, at_s: float, counts: Mapping[tuple[str, ...], int]) -> None:
    """Adds to the sums of the day of `at_s` (Unix seconds)."""
    day, index = day_of(at_s), prefix + PAIRED_KEY
    pipeline = client.pipeline(transaction=False)
    for field, count in counts.items():
        pipeline.hincrby(paired_key(prefix, day), msgspec.json.encode(field).decode(), count)
    pipeline.expire(paired_key(prefix, day), round(KEPT_DAYS * DAY_S))
    pipeline.hincrby(index, day, 1)  # last, so that a reader of the index finds the sums
    *_, entries = await pipeline.execute()
    if entries == 1:
        await drop_old(client, index, at_s)


def compared(one: str, other: str, category: str, score: float, at_s: float) -> dict[tuple[str, ...], int]:
    """What one comparison adds. `score` is 1 if `one` won, 0 if it lost, and 0.5 for a tie."""
    if one > other:
        one, other, score = other, one, 1 - score
    end = {1.0: "wins", 0.5: "ties", 0.0: "losses"}[score]
    return {(one, other, category, end): 1, (one, other, category, SECONDS): round(at_s % DAY_S)}


def controlled(judge: str, verdicts: Sequence[Winner | None]) -> dict[tuple[str, ...], int]:
    """What verdicts on two answers of the same deployment add."""
    return {(judge, POSITIONS[one]): verdicts.count(one) for one in dict.fromkeys(verdicts) if one is not None}


Sums = Mapping[tuple[str, ...], float]


def _sums(fields: Mapping[str, str]) -> Sums:
    found: dict[tuple[str, ...], float] = {}
    for name, text in fields.items():
        value = number(text)
        try:
            key = msgspec.json.decode(name, type=tuple[str, ...])
        except (msgspec.MsgspecError, UnicodeError):
            continue
        if value is not None:
            found[key] = value
    return found


def _rows(day_began_s: float, sums: Sums) -> list[Outcomes]:
    pairs = dict.fromkeys(key[:3] for key in sums if len(key) == 4 and key[0] < key[1])
    found: list[Outcomes] = []
    for one, other, category in pairs:
        wins, ties, losses = (sums.get((one, other, category, end), 0.0) for end in ENDS)
        total = wins + ties + losses
        if total:
            within_s = min(sums.get((one, other, category, SECONDS), 0.0) / total, DAY_S)
            found.append(Outcomes(one, other, category, wins, ties, losses, day_began_s + within_s))
    return found


def _controls(days: Iterable[Sums]) -> dict[str, Control]:
    found: dict[str, Control] = {}
    for sums in days:
        for key, value in sums.items():
            if len(key) == 2 and key[1] in Control._fields:
                before = found.get(key[0], Control())
                found[key[0]] = before._replace(**{key[1]: getattr(before, key[1]) + value})
    return found
