"""What users said of the answers: sums of their scores, by deployment, category and day, in Redis.

    {prefix}slo_router:feedback         hash, day → how many ratings it has, see `days`
    {prefix}slo_router:feedback:{day}   hash, `{deployment}:{category}:answers`, `…:score` and `…:seconds`, the sums of
                                        ratings, scores and times of the day; gone after `KEPT_DAYS`

A day is that of the answers, UTC; its ratings count at their mean time. One command in each round, and one more for
each day that has changed: a worker's traffic to Redis does not grow with the ratings. Values that cannot be true are
left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import FEEDBACK_KEY, feedback_key
from slo_router.contract.metrics_hash import number
from slo_router.contract.redis.link import AsyncClient
from slo_router.quality.evidence import Batch, Evidence, update
from slo_router.quality.judging import Fed
from slo_router.quality.sources import FEEDBACK
from slo_router.worker.learning.days import Days, began_s

ANSWERS, SCORE, SECONDS = "answers", "score", "seconds"  # the last part of a field's name


class Feedback:
    """One worker's reading; `sums` is replaced where something has changed."""

    def __init__(self, prefix: str) -> None:
        self._days = Days(prefix + FEEDBACK_KEY, partial(feedback_key, prefix))
        self.sums: Fed = {}

    async def refresh(self, client: AsyncClient, now_s: float) -> None:
        """Reads what has changed. Raises redis errors; everything then stays as it was."""
        if await self._days.refresh(client, now_s):
            self.sums = _sums(self._days.hashes)


def _sums(days: Mapping[str, Mapping[str, str]]) -> Fed:
    found: dict[str, dict[str, Evidence]] = {}
    for day, fields in days.items():
        for name in _cells(fields):
            deployment, _, category = name.rpartition(":")
            answers, score, seconds = (number(fields.get(f"{name}:{part}", "")) for part in (ANSWERS, SCORE, SECONDS))
            if answers and score is not None and score <= answers and seconds is not None:
                cells = found.setdefault(deployment, {})
                batch = Batch(FEEDBACK, answers, score, began_s(day) + min(seconds / answers, DAY_S))
                cells[category] = update(cells.get(category, Evidence()), batch)
    return {
        deployment: {category: evidence.batches for category, evidence in cells.items()}
        for deployment, cells in found.items()
    }


def _cells(fields: Iterable[str]) -> Iterable[str]:
    return (name for name, _, part in (field.rpartition(":") for field in fields) if part == ANSWERS)
