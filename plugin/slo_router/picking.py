"""The pick among assessed candidates: those that meet the SLO by the objective, else the best of what there is.

    some meet the SLO        the objective: cheapest expected cost, or the highest weighted score
    none known to meet it    the same among those nothing was measured for: they may meet it, the others do not
    all known to miss it     the highest quality; among equals the smallest deficit

An unknown cost ranks behind every known one. Exact ties go to the larger headroom, then to chance, so that equal
replicas share the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from slo_router.domain import Assessment, Rng, Standing

Rank = Callable[[Assessment], tuple[float, ...]]


def pick(candidates: Sequence[Assessment], objective: str, rng: Rng) -> Assessment:
    """The candidate to send the request to. `candidates` is not empty."""
    standing = min([candidate.standing for candidate in candidates])
    best = [candidate for candidate in candidates if candidate.standing is standing]
    rank = _nearest if standing is Standing.MISSES else _weighted if objective == "weighted" else _cheapest
    ranks = [rank(candidate) for candidate in best]
    first = min(ranks)
    if ranks.count(first) == 1:
        return best[ranks.index(first)]
    return rng.choice([candidate for candidate, key in zip(best, ranks, strict=True) if key == first])


def _cheapest(candidate: Assessment) -> tuple[float, ...]:
    cost_usd, headroom = candidate.prediction.cost_usd, candidate.headroom
    return (math.inf if cost_usd is None else cost_usd, 0.0 if headroom is None else -headroom)


def _weighted(candidate: Assessment) -> tuple[float, ...]:
    return (-(candidate.scores or {}).get("total", 0.0), *_cheapest(candidate))


def _nearest(candidate: Assessment) -> tuple[float, ...]:
    quality = candidate.prediction.quality
    return (1.0 if quality is None else -quality, *_cheapest(candidate)[::-1])
