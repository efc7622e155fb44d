"""A prediction compared with the SLO, and the objective's scores.

Headroom of a field is (limit − prediction) / limit: 0.2 leaves a fifth of the limit, −1 is twice the limit.

    MEETS     every field with a limit has headroom of 0 or more
    MISSES    a field is known to break its limit
    UNKNOWN   no limit is known to be broken, but a field could not be judged

The `weighted` objective's terms are normalised over the candidates to 0..1, best = 1, before they are weighted. Often
quality + 1/cost − latency is summed as it is. Then the term with the largest unit decides alone: 1/cost of $0.0001 is
10,000, and no quality in 0..1 can outweigh it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from slo_router.contract.model import Assessment, Prediction, Slo, Standing
from slo_router.contract.settings.group import GroupSettings, Weights

Limits = Sequence[tuple[str, int, float, float]]  # field name, position in Prediction, limit, what headroom divides by
SMALLEST_LIMIT = 1e-9  # headroom is measured against at least this, so that a limit of 0 still gives a number

_new = tuple.__new__  # of a named tuple, in four fifths of the time of its own constructor
_MEETS, _UNKNOWN, _MISSES = Standing.MEETS, Standing.UNKNOWN, Standing.MISSES  # an enum's attribute is slow to look up

JUDGED = (("ttft_ms", 0), ("tpot_ms", 1), ("e2e_ms", 2), ("cost_per_1k", 4))  # Slo's order, Prediction's positions


@lru_cache(maxsize=1_024)
def limits_of(slo: Slo) -> Limits:
    """The SLO's fields that have a limit, quality aside (that is a filter)."""
    return tuple(
        (name, position, limit, max(limit, SMALLEST_LIMIT))
        for (name, position), limit in zip(JUDGED, slo[:4], strict=True)
        if limit is not None
    )


def assess(deployment_id: str, prediction: Prediction, limits: Limits) -> Assessment:
    """Compares one candidate's prediction with the SLO."""
    headroom: float | None = None
    missed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    for name, position, limit, scale in limits:
        value = prediction[position]
        if value is None:
            unknown += (name,)
            continue
        room = (limit - value) / scale  # type: ignore[operator]  # these positions hold floats
        if room < 0:
            missed += (name,)
        if headroom is None or room < headroom:
            headroom = room
    standing = _MISSES if missed else _UNKNOWN if unknown else _MEETS
    return _new(Assessment, (deployment_id, prediction, standing, headroom, missed, unknown, None, None, 0.0))


def score(assessments: list[Assessment], group: GroupSettings, worth_usd: float | None) -> list[Assessment]:
    """Adds the terms of the group's objective; `worth_usd` is that of a quality of 1, where it is known."""
    if group.objective == "weighted":
        return weigh(assessments, group.weights or Weights())
    return assessments if worth_usd is None else value(assessments, worth_usd)


def weigh(assessments: Sequence[Assessment], weights: Weights) -> list[Assessment]:
    """Adds each candidate's terms and their weighted sum, `total`, all in 0..1; a term with no data scores 0."""
    predictions = [assessment.prediction for assessment in assessments]
    quality = _normalise([p.quality for p in predictions], best_is_high=True)
    cost = _normalise(
        [None if (usd := a.prediction.cost_usd) is None else usd + a.shadow_usd for a in assessments],
        best_is_high=False,
    )
    comparable = all(p.e2e_s is not None or p.ttft_s is None for p in predictions)  # a TTFT beside an E2E looks fast
    latency = _normalise([p.e2e_s if comparable else p.ttft_s for p in predictions], best_is_high=False)
    whole = weights.quality + weights.cost + weights.latency
    return [
        assessment._replace(
            scores={
                "quality": q,
                "cost": c,
                "latency": t,
                "total": (weights.quality * q + weights.cost * c + weights.latency * t) / whole,
            }
        )
        for assessment, q, c, t in zip(assessments, quality, cost, latency, strict=True)
    ]


def value(assessments: Sequence[Assessment], worth_usd: float) -> list[Assessment]:
    """Adds what each candidate's quality is worth, in USD. If no quality is known, the candidates stay as they are."""
    qualities = [assessment.prediction.quality for assessment in assessments]
    if all(quality is None for quality in qualities):
        return list(assessments)
    return [
        assessment._replace(scores={} if quality is None else {"quality_usd": worth_usd * quality})
        for assessment, quality in zip(assessments, qualities, strict=True)
    ]


def _normalise(values: Iterable[float | None], *, best_is_high: bool) -> list[float]:
    values = list(values)
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    spread = high - low
    worst = low if best_is_high else high
    return [0.0 if v is None else 1.0 if spread == 0 else abs(v - worst) / spread for v in values]
