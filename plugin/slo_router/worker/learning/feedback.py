"""What users said of the answers, and which signals came: sums by deployment, category and day, in Redis.

    {prefix}slo_router:feedback         hash, day → how many ratings it has, see `days`
    {prefix}slo_router:feedback:{day}   hash, `{deployment}:{category}:answers`, `…:score` and `…:seconds`, the sums of
                                        ratings, scores and times of the day; gone after `KEPT_DAYS`
    {prefix}slo_router:implicit…        the same of answers that were examined for weak signals; `score` counts the
                                        answers without a signal, see `implicit`

The day is the UTC day of the answers; a day's ratings count at their mean time. A round costs one command, and one more
for each day that has changed: a worker's traffic to Redis does not grow with the ratings. Values that cannot be true
are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import FEEDBACK_KEY, IMPLICIT_KEY, feedback_key, implicit_key
from slo_router.contract.metrics_hash import number
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.group import GroupSettings
from slo_router.quality.evidence import Batch, Evidence, update
from slo_router.quality.judging import Fed
from slo_router.quality.sources import FEEDBACK, IMPLICIT
from slo_router.worker.learning.days import Days, began_s

ANSWERS, SCORE, SECONDS = "answers", "score", "seconds"  # the last part of a field's name


class Feedback:
    """What one worker last read. `sums` is replaced if anything has changed."""

    def __init__(self, prefix: str) -> None:
        self._days = {
            FEEDBACK: Days(prefix + FEEDBACK_KEY, partial(feedback_key, prefix)),
            IMPLICIT: Days(prefix + IMPLICIT_KEY, partial(implicit_key, prefix)),
        }
        self.sums: Fed = {}

    async def refresh(self, client: AsyncClient, now_s: float, sources: Iterable[str] = (FEEDBACK,)) -> None:
        """Reads the days that have changed. Raises redis errors; `sums` then stays as it was."""
        if any([await self._days[source].refresh(client, now_s) for source in sources]):
            self.sums = _sums((source, *day) for source, days in self._days.items() for day in days.hashes.items())


def sources_of(groups: Iterable[GroupSettings], *, feedback: bool) -> list[str]:
    """The sources of ratings and signals that are on."""
    hears_signals = any(group.implicit_feedback for group in groups)
    return [*([FEEDBACK] if feedback else []), *([IMPLICIT] if hears_signals else [])]


def _sums(days: Iterable[tuple[str, str, Mapping[str, str]]]) -> Fed:
    found: dict[str, dict[str, Evidence]] = {}
    for source, day, fields in days:
        for name in _cells(fields):
            deployment, _, category = name.rpartition(":")
            answers, score, seconds = (number(fields.get(f"{name}:{part}", "")) for part in (ANSWERS, SCORE, SECONDS))
            if answers and score is not None and score <= answers and seconds is not None:
                cells = found.setdefault(deployment, {})
                batch = Batch(source, answers, score, began_s(day) + min(seconds / answers, DAY_S))
                cells[category] = update(cells.get(category, Evidence()), batch)
    return {
        deployment: {category: evidence.batches for category, evidence in cells.items()}
        for deployment, cells in found.items()
    }


def _cells(fields: Iterable[str]) -> Iterable[str]:
    return (name for name, _, part in (field.rpartition(":") for field in fields) if part == ANSWERS)
