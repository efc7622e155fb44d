"""The pick among assessed candidates: those that meet the SLO by the objective, else the best of what there is.

    some meet the SLO        the objective: cheapest expected cost, or the highest weighted score
    none known to meet it    the same among those nothing was measured for: they may meet it, the others do not
    all known to miss it     the highest quality; among equals the smallest deficit

An unknown cost ranks behind every known one. Exact ties go to the larger headroom, then to chance, so that equal
replicas share the traffic.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from slo_router.domain import Assessment, Standing

Rank = Callable[[Assessment], tuple[float, ...]]


def pick(candidates: Sequence[Assessment], objective: str, rng: random.Random) -> Assessment:
    """The candidate to send the request to. `candidates` is not empty."""
    standing = min(candidate.standing for candidate in candidates)
    best = [candidate for candidate in candidates if candidate.standing is standing]
    rank = _nearest if standing is Standing.MISSES else _weighted if objective == "weighted" else _cheapest
    return _first(best, rank, rng)


def _first(candidates: Sequence[Assessment], rank: Rank, rng: random.Random) -> Assessment:
    if len(candidates) == 1:
        return candidates[0]
    ranked = [(rank(candidate), candidate) for candidate in candidates]
    best = min(key for key, _ in ranked)
    tied = [candidate for key, candidate in ranked if key == best]
    return tied[0] if len(tied) == 1 else rng.choice(tied)


def _cheapest(candidate: Assessment) -> tuple[float, ...]:
    cost_usd = candidate.prediction.cost_usd
    return (math.inf if cost_usd is None else cost_usd, _shortage(candidate))


def _weighted(candidate: Assessment) -> tuple[float, ...]:
    return (-(candidate.scores or {}).get("total", 0.0), *_cheapest(candidate))


def _nearest(candidate: Assessment) -> tuple[float, ...]:
    quality = candidate.prediction.quality
    return (1.0 if quality is None else -quality, *_cheapest(candidate)[::-1])


def _shortage(candidate: Assessment) -> float:
    return 0.0 if candidate.headroom is None else -candidate.headroom
