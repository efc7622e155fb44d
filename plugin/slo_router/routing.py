"""The whole decision: which deployment satisfies this request's SLO at the lowest cost.

    candidates → filters → predictions → SLO → objective → pick → Decision

Pure: the clock and the randomness come in with `View`, and nothing here logs, waits or reads the environment.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from slo_router.config import GroupSettings, Weights
from slo_router.domain import Assessment, Decision, Facts, Features, Rejection, Slo, Snapshot, Standing
from slo_router.filters import HARDNESS, Demand, rejections
from slo_router.picking import pick
from slo_router.prediction import predict
from slo_router.scoring import assess, limits_of, weigh


class Ask(NamedTuple):
    """One request: what it is, what it asks for, and who already failed it."""

    features: Features
    slo: Slo
    tried: frozenset[str] = frozenset()


class View(NamedTuple):
    """The world as the decider sees it. `now_s` is Unix seconds."""

    snapshot: Snapshot
    now_s: float
    rng: random.Random


class Policy(NamedTuple):
    """How a group is routed, with the fingerprint that is stamped on its decisions."""

    group: GroupSettings
    fingerprint: str


def decide(ask: Ask, candidates: Sequence[Facts], view: View, policy: Policy) -> Decision:
    """Decides one request. `candidates` is LiteLLM's healthy pool and not empty; the pick is always one of them."""
    group = policy.group
    demand = Demand(ask.features, ask.slo.min_quality, group.max_error_rate, ask.tried)
    limits = limits_of(ask.slo)
    able: list[Assessment] = []
    unable: list[tuple[Assessment, list[Rejection]]] = []
    for facts in candidates:
        prediction = predict(facts, ask.features, view.snapshot, view.now_s)
        assessment = assess(facts.deployment_id, prediction, limits)
        if found := rejections(facts, prediction, demand):
            unable.append((assessment, found))
        else:
            able.append(assessment)
    pool = able or _least_rejected(unable, candidates)
    if group.objective == "weighted":
        pool = weigh(pool, group.weights or Weights())
    chosen = pick(pool, group.objective, view.rng)
    pooled = {assessment.deployment_id for assessment in pool}
    others = [assessment for assessment, _ in unable if assessment.deployment_id not in pooled]
    return Decision(
        kind="met" if able and chosen.standing is Standing.MEETS else "fallback",
        deployment_id=chosen.deployment_id,
        features=ask.features,
        slo=ask.slo,
        assessments=(*pool, *others),
        rejections=tuple(rejection for _, found in unable for rejection in found),
        policy=policy.fingerprint,
    )


def _least_rejected(
    unable: Sequence[tuple[Assessment, list[Rejection]]], candidates: Sequence[Facts]
) -> list[Assessment]:
    """Those whose rejections, hardest first, are the softest there are.

    Where nothing is large enough these are the largest windows; where nothing is good enough, the best.
    """
    hardness = [tuple(HARDNESS[rejection.filter] for rejection in found) for _, found in unable]
    softest = min(hardness)
    if softest[0] == HARDNESS["context_window"]:
        largest = max(facts.context_tokens or 0 for facts in candidates)
        return [a for (a, _), facts in zip(unable, candidates, strict=True) if facts.context_tokens == largest]
    left = [assessment for (assessment, _), found in zip(unable, hardness, strict=True) if found == softest]
    if softest[-1] != HARDNESS["quality"]:
        return left
    best = max(assessment.prediction.quality or 0.0 for assessment in left)
    return [assessment for assessment in left if (assessment.prediction.quality or 0.0) == best]
