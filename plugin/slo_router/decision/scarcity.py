"""Which requests pay for a scarce place, are turned away or would leave. Pure. `live.scarcity` has the prices.

    pays            a request that would stay there: price × predicted stay, added to its cost when costs are compared
    turned away     a request that no candidate is expected to serve within its SLO. This one would serve it without its
                    load, which at least doubles the time to the first token, or without its quota
    soon            a request that only this one serves, while by a sweep it will be full with few more
    would leave     a request that another candidate is expected to serve within its SLO, too, at a higher cost

The price is not a cost: it is never billed, and compared with no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from slo_router.contract.model import Assessment, Decision, Facts, Prediction, Slo, Standing
from slo_router.decision.prediction import View
from slo_router.latency.curve import Curve, tpot_s, ttft_s
from slo_router.live.scarcity import FROM
from slo_router.live.state import LiveState

CROWDED = 2.0  # times the time to the first token without load
BEYOND = 0.5  # part of the places; with so many more in flight the time to the first token must double
NO_CHARGES: Mapping[str, float] = MappingProxyType({})
_LEAST_S = 1e-6
_TIMES = frozenset({"ttft_ms", "tpot_ms", "e2e_ms"})
_MEETS = Standing.MEETS


def charges(candidates: Sequence[Facts], predictions: Sequence[Prediction], view: View) -> Mapping[str, float]:
    """By deployment id: the shadow price of this request's stay, USD; deployments without one are left out."""
    found: dict[str, float] | None = None
    for facts, prediction in zip(candidates, predictions, strict=True):
        state = view.live.get(facts.deployment_id)
        if state is not None and state.tariff is not None:
            usd = state.tariff.usd_per_s(prediction.in_flight) * stay_s(prediction)
            if usd > 0:
                found = found or {}
                found[facts.deployment_id] = usd
    return NO_CHARGES if found is None else found


def charged(pool: list[Assessment], shadow_usd: Mapping[str, float]) -> list[Assessment]:
    """The candidates with what a place at each is worth to others."""
    if not shadow_usd:
        return pool
    return [one._replace(shadow_usd=shadow_usd.get(one.deployment_id, 0.0)) for one in pool]


def stay_s(prediction: Prediction) -> float:
    """How long a request takes a place there, seconds; 0 where that is unknown."""
    return prediction.e2e_s or prediction.ttft_s or 0.0


def turned_away(decision: Decision, states: Mapping[str, LiveState]) -> Iterator[tuple[str, float]]:
    """Deployment ids, with the load at which the request was turned away, or one like it soon will be."""
    if decision.kind == "met":
        yield from _soon(decision, states.get(decision.deployment_id))
        return
    for one in _passing(decision):
        state = states.get(one.deployment_id)
        if state is None or state.curve is None or one.prediction.basis != "live":
            continue
        if one.missed and _TIMES.issuperset(one.missed) and _is_crowded(one.prediction, decision, state.curve):
            yield one.deployment_id, one.prediction.in_flight
    others = {rejection.deployment_id for rejection in decision.rejections if rejection.filter != "quota"}
    full = {rejection.deployment_id for rejection in decision.rejections} - others
    for one in decision.assessments:
        if one.standing is _MEETS and one.deployment_id in full:
            yield one.deployment_id, one.prediction.in_flight


def _soon(decision: Decision, state: LiveState | None) -> Iterator[tuple[str, float]]:
    """The pick, if no other serves the request, a sweep shows few places left, and requests beyond them wait long.

    A knee that only live requests show is too rough: many requests would leave that need not.
    """
    curve = None if state is None else state.curve
    if curve is None or not curve.is_swept:
        return
    able = [one for one in _passing(decision) if one.standing is _MEETS]
    if len(able) != 1 or not FROM * curve.knee < able[0].prediction.in_flight <= curve.knee:
        return
    alone_s = ttft_s(curve, decision.features.prompt_tokens, 0.0, able[0].prediction.hidden_tokens or 0.0)
    if BEYOND * curve.knee * curve.k_s_per_request > (CROWDED - 1) * alone_s:
        yield decision.deployment_id, curve.knee


def would_leave(decision: Decision, states: Mapping[str, LiveState]) -> Iterator[tuple[str, float, float]]:
    """Ids of scarce deployments, with the price (USD per second) at which the request would leave, and its stay (s)."""
    if decision.kind != "met":
        return
    able = [one for one in _passing(decision) if one.standing is _MEETS and one.prediction.cost_usd is not None]
    if len(able) < 2:
        return
    for one in able:
        state, left_s, own_usd = states.get(one.deployment_id), stay_s(one.prediction), one.prediction.cost_usd or 0.0
        if state is None or not state.is_scarce or left_s <= 0:
            continue
        least_usd = min(other.prediction.cost_usd or 0.0 for other in able if other is not one)
        if least_usd >= own_usd:  # else the request would not go there
            yield one.deployment_id, (least_usd - own_usd) / left_s, left_s


def _passing(decision: Decision) -> list[Assessment]:
    rejected = {rejection.deployment_id for rejection in decision.rejections}
    return [one for one in decision.assessments if one.deployment_id not in rejected]


def _is_crowded(prediction: Prediction, decision: Decision, curve: Curve) -> bool:
    """Whether the deployment would keep the SLO without its load."""
    first_s, further_s, tokens = prediction.ttft_s, prediction.tpot_s, decision.features.prompt_tokens
    if first_s is None or further_s is None:
        return False
    load, hidden_tokens = prediction.in_flight, prediction.hidden_tokens or 0.0
    alone_s = max(ttft_s(curve, tokens, 0.0, hidden_tokens), _LEAST_S)
    crowd = ttft_s(curve, tokens, load, hidden_tokens) / alone_s
    if crowd < CROWDED:
        return False
    pace = tpot_s(curve, load) / max(tpot_s(curve, 0.0), _LEAST_S)
    alone_s = first_s / crowd + ((prediction.e2e_s or first_s) - first_s) / pace
    return _keeps((first_s / crowd, further_s / pace, alone_s), decision.slo)


def _keeps(times_s: tuple[float, ...], slo: Slo) -> bool:
    return all(limit is None or time_s <= limit for time_s, limit in zip(times_s, slo[:3], strict=True))
