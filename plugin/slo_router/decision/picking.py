"""The pick among assessed candidates: those that meet the SLO by the objective, else the best of what there is.

    some meet the SLO        the objective: cheapest expected cost, the highest value, or the highest weighted score
    none known to meet it    the same among those with an unmeasured SLO field: they may meet it, the others do not
    all known to miss it     the likeliest to keep it, in steps of 5 %; among equals the highest quality, then the
                             smallest deficit. Without live evidence the highest quality is picked.

Where places are scarce, the cost that is compared includes what the place is worth to others. So requests with another
choice leave. A request that will probably miss its SLO there all the same takes no such place.

The value is what the quality is worth, less the cost. So the highest value is the lowest cost, once the worth of the
quality is subtracted. An unknown cost ranks behind every known one. Where quality has a worth, so does an unknown
quality.

Costs within the tie band count as equal. Then the candidate that has the conversation in its prefix cache answers. Else
the operator's weights decide, if one of the candidates has a `weight`. Else two are drawn at random, and the one with
the earlier predicted finish answers. If they finish at about the same time, or nothing is known of one, the one with
fewer requests in flight answers: unknown is not slow. The better of two keeps equal replicas evenly filled. The best of
all would get every worker's burst, because each worker sees the others' load a second late.

Now and then a candidate that is no dearer is tried while none of its requests is in flight. Else nobody would learn
that it is fast, or is so again. This holds for a candidate that

    has an unmeasured latency, or is getting faster
    was slow when last seen some seconds ago, or when the benchmark last ran more than a day ago
    is ruled out only by a benchmark's evidence (`suspects`): failures, or answers whose end showed a fault
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from slo_router.contract.ages import MEASURED_LASTS_S
from slo_router.contract.model import Assessment, Standing
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.prediction import Rng, View
from slo_router.live.state import LiveState

Rank = Callable[[Assessment], tuple[float, ...]]
NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})
PROBABILITY_STEPS = 20
HOPE = 0.5  # P(SLO kept): with less a request takes no scarce place
CLOSE = 0.15  # of a predicted finish: the spread of five samples makes it 12 % later than that of two hundred
STALE_S = 5.0  # since the last live sample: it may have recovered
RECOVERING = 0.9  # with a level of the last seconds below this part of the last minutes', it recovers
_MISSES = Standing.MISSES  # an enum's attribute is slow to look up
_TIMES = frozenset({"ttft_ms", "tpot_ms", "e2e_ms"})


def pick(
    candidates: Sequence[Assessment],
    group: GroupSettings,
    view: View,
    home: str = "",
    suspects: Sequence[Assessment] = (),
    *,
    weights: Mapping[str, float] = NO_WEIGHTS,
) -> Assessment:
    """The candidate to send the request to. `candidates` is not empty; `home` has the conversation in its cache.

    One of the `suspects` is taken only on trial. `weights` are the operator's, by deployment id, where it set one.
    """
    standing = min([candidate.standing for candidate in candidates])
    best = [candidate for candidate in candidates if candidate.standing is standing]
    if len(best) == 1:
        chosen = best[0]
    elif standing is _MISSES:
        chosen = _first(best, _nearest, view.rng)
    elif group.objective == "weighted":
        chosen = _first(best, _weighted, view.rng)
    else:
        chosen = _cheapest(best, view.rng, group, home, weights)
    if (len(candidates) > 1 or suspects) and view.rng.random() < group.trial_share:
        return _trial(candidates, suspects, chosen, view) or chosen
    return chosen


def _cheapest(
    candidates: Sequence[Assessment], rng: Rng, group: GroupSettings, home: str, weights: Mapping[str, float]
) -> Assessment:
    costs = [
        math.inf if (cost := candidate.prediction.cost_usd) is None else cost + candidate.shadow_usd
        for candidate in candidates
    ]
    if group.objective == "value" and candidates[0].scores is not None:
        candidates, costs = _like_the_best(candidates, costs, group.tie_band)
    limit = min(costs) * (1 + group.tie_band)
    tied = [candidate for candidate, cost in zip(candidates, costs, strict=True) if cost <= limit]
    if len(tied) == 1:
        return tied[0]
    for candidate in tied:
        if candidate.deployment_id == home:
            return candidate
    if weights and any(candidate.deployment_id in weights for candidate in tied):
        return _drawn(tied, rng, weights)
    one = rng.choice(tied)
    other = rng.choice([candidate for candidate in tied if candidate is not one])
    return min(one, other, key=_load if _is_close(_finish_s(one), _finish_s(other)) else _finish)


def _like_the_best(
    candidates: Sequence[Assessment], costs: Sequence[float], tie_band: float
) -> tuple[list[Assessment], list[float]]:
    """The candidates with the highest value, or with about that value and cost, and their costs.

    All of them where no value is known.
    """
    worths = [(candidate.scores or {}).get("quality_usd", -math.inf) for candidate in candidates]
    values = [worth - cost for worth, cost in zip(worths, costs, strict=True)]
    best = values.index(max(values))
    if values[best] == -math.inf:
        return list(candidates), list(costs)
    band = tie_band * costs[best]
    alike = [
        (candidate, cost)
        for candidate, cost, value in zip(candidates, costs, values, strict=True)
        if values[best] - value <= band and abs(cost - costs[best]) <= band
    ]
    return [candidate for candidate, _ in alike], [cost for _, cost in alike]


def _drawn(tied: Sequence[Assessment], rng: Rng, weights: Mapping[str, float]) -> Assessment:
    """One of `tied`, drawn by weight; a candidate without one has 1."""
    left = rng.random() * sum(weights.get(candidate.deployment_id, 1.0) for candidate in tied)
    for candidate in tied:
        left -= weights.get(candidate.deployment_id, 1.0)
        if left < 0:
            return candidate
    return tied[-1]


def _first(candidates: Sequence[Assessment], rank: Rank, rng: Rng) -> Assessment:
    ranks = [rank(candidate) for candidate in candidates]
    first = min(ranks)
    if ranks.count(first) == 1:
        return candidates[ranks.index(first)]
    return rng.choice([candidate for candidate, key in zip(candidates, ranks, strict=True) if key == first])


def _trial(
    candidates: Sequence[Assessment], suspects: Sequence[Assessment], chosen: Assessment, view: View
) -> Assessment | None:
    limit_usd = _cost(chosen)
    untried = [
        candidate
        for candidate in candidates
        if candidate is not chosen
        and _cost(candidate) <= limit_usd
        and _would_teach(candidate, view.live.get(candidate.deployment_id))
    ]
    untried += [
        suspect
        for suspect in suspects
        if _cost(suspect) <= limit_usd and not suspect.prediction.in_flight and suspect.standing is not _MISSES
    ]
    return view.rng.choice(untried) if untried else None


def _would_teach(candidate: Assessment, state: LiveState | None) -> bool:
    prediction = candidate.prediction
    if prediction.in_flight or not _TIMES.issuperset(candidate.unknown + candidate.missed):
        return False
    if candidate.standing is Standing.UNKNOWN:
        return True
    if candidate.standing is Standing.MEETS:
        return False
    if prediction.basis != "live":
        return state is not None and (prediction.age_s or 0.0) > MEASURED_LASTS_S
    curve = None if state is None else state.curve
    recovers = curve is not None and min(curve.ttft_level, curve.tpot_level) < RECOVERING
    return recovers or (prediction.age_s or 0.0) > STALE_S


def _cost(candidate: Assessment) -> float:
    cost_usd = candidate.prediction.cost_usd
    return math.inf if cost_usd is None else cost_usd


def _is_close(one_s: float | None, other_s: float | None) -> bool:
    """Whether nobody can tell which of two finishes earlier."""
    if one_s is None or other_s is None:
        return one_s is not other_s
    return abs(one_s - other_s) <= CLOSE * max(one_s, other_s)


def _finish_s(candidate: Assessment) -> float | None:
    prediction = candidate.prediction
    return prediction.ttft_s if prediction.e2e_s is None else prediction.e2e_s


def _finish(candidate: Assessment) -> tuple[float, ...]:
    finish_s = _finish_s(candidate)
    return (math.inf if finish_s is None else finish_s, *_room(candidate), _load(candidate))


def _load(candidate: Assessment) -> float:
    return candidate.prediction.in_flight


def _room(candidate: Assessment) -> tuple[float]:
    return (0.0 if candidate.headroom is None else -candidate.headroom,)


def _weighted(candidate: Assessment) -> tuple[float, ...]:
    return (-(candidate.scores or {}).get("total", 0.0), _cost(candidate), *_room(candidate))


def _nearest(candidate: Assessment) -> tuple[float, ...]:
    quality = candidate.prediction.quality
    chance = candidate.probability or 0.0
    likely = -1 if candidate.shadow_usd and chance < HOPE else round(chance * PROBABILITY_STEPS)
    return (-likely, 1.0 if quality is None else -quality, *_room(candidate), _cost(candidate))
