"""The whole decision: which deployment satisfies this request's SLO at the lowest cost.

    candidates → filters → predictions → SLO → objective → pick → Decision

Pure: the clock and the randomness come in with `View`, and nothing here logs, waits or reads the environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from slo_router.circuit import share
from slo_router.config import GroupSettings, Weights
from slo_router.domain import Assessment, Decision, Facts, Features, Rejection, Rng, Slo, Snapshot, Standing
from slo_router.filters import Demand, concerned
from slo_router.live import LiveState
from slo_router.picking import pick
from slo_router.prediction import predict, probability
from slo_router.relaxation import least_rejected
from slo_router.scoring import assess, limits_of, weigh


class Ask(NamedTuple):
    """One request: what it is, what it asks for, and who already failed it."""

    features: Features
    slo: Slo
    tried: frozenset[str] = frozenset()
    cost_ceiling_per_1k_usd: float | None = None  # its key's or team's, which no wish may lift


class View(NamedTuple):
    """The world as the decider sees it. `now_s` is Unix seconds; `live` is by deployment id."""

    snapshot: Snapshot
    now_s: float
    rng: Rng
    live: Mapping[str, LiveState] = MappingProxyType({})


class Policy(NamedTuple):
    """How a group is routed, with the fingerprint that is stamped on its decisions."""

    group: GroupSettings
    fingerprint: str


def decide(ask: Ask, candidates: Sequence[Facts], view: View, policy: Policy) -> Decision:
    """Decides one request. `candidates` is LiteLLM's healthy pool and not empty; the pick is always one of them."""
    group = policy.group
    shut = _shut(candidates, view)
    demand = Demand(
        ask.features, ask.slo.min_quality, group.max_error_rate, ask.tried, ask.cost_ceiling_per_1k_usd, shut
    )
    filters, limits = concerned(demand), limits_of(ask.slo)
    able: list[Assessment] = []
    unable: list[tuple[Assessment, list[Rejection]]] = []
    for facts in candidates:
        prediction = predict(facts, ask.features, view.snapshot, view.now_s, view.live.get(facts.deployment_id))
        assessment = assess(facts.deployment_id, prediction, limits)
        if found := [broken for accepts in filters if (broken := accepts(facts, prediction, demand)) is not None]:
            unable.append((assessment, found))
        else:
            able.append(assessment)
    pool = able or least_rejected(unable, candidates)
    if group.objective == "weighted":
        pool = weigh(pool, group.weights or Weights())
    if all(assessment.standing is Standing.MISSES for assessment in pool):
        pool = [assessment._replace(probability=_probability(assessment, ask, view)) for assessment in pool]
    chosen = pick(pool, group.objective, view.rng, group.tie_band, group.trial_share)
    return Decision(
        kind="met" if able and chosen.standing is Standing.MEETS else "fallback",
        deployment_id=chosen.deployment_id,
        features=ask.features,
        slo=ask.slo,
        assessments=(*pool, *_left_out(unable, pool)) if unable else tuple(pool),
        rejections=tuple([rejection for _, found in unable for rejection in found]),
        policy=policy.fingerprint,
        probability=_probability(chosen, ask, view),
    )


def _shut(candidates: Sequence[Facts], view: View) -> frozenset[str]:
    """Those whose circuit lets this request not pass."""
    shut: list[str] = []
    for facts in candidates:
        state = view.live.get(facts.deployment_id)
        if state is not None and state.circuit.changed_at_s is not None:
            part = share(state.circuit, view.now_s)
            if part < 1 and view.rng.random() >= part:
                shut.append(facts.deployment_id)
    return frozenset(shut)


def _probability(assessment: Assessment, ask: Ask, view: View) -> float | None:
    state = view.live.get(assessment.deployment_id)
    if state is None:
        return None
    return 0.0 if "cost_per_1k" in assessment.missed else probability(ask.features, ask.slo, state)


def _left_out(unable: Sequence[tuple[Assessment, list[Rejection]]], pool: Sequence[Assessment]) -> Iterator[Assessment]:
    pooled = {assessment.deployment_id for assessment in pool}
    return (assessment for assessment, _ in unable if assessment.deployment_id not in pooled)
