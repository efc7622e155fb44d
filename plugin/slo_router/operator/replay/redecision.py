"""Decides a recorded request again, from what the record says was known, by the same `choose` as a live request.

Nothing is predicted anew: what a candidate was expected to do is what the record holds. Faulty answers, circuits, tries
that had failed and the key's cost ceiling are taken from the recorded rejections. Where the pick depends on a draw
(equal costs or ranks, a trial of a cheaper candidate) the redecision says so, and `possible` and `trials` name what it
could have been.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from slo_router.contract.model import Assessment, Facts, Features, Prediction, Rejection, Slo, Snapshot
from slo_router.contract.settings.config import GroupSettings
from slo_router.decision.decide import choose, rejections_of
from slo_router.decision.filters import SERVICE_TIER, Demand
from slo_router.decision.picking import pick
from slo_router.decision.prediction import View
from slo_router.decision.relaxation import KEPT, RECOVERING
from slo_router.operator.replay.recorded import RecordedDecision

DRAWS = 16  # that many picks find out what an undecided one could have been

Item = TypeVar("Item")


class Foreseen(NamedTuple):
    """One candidate, with what was expected of it."""

    facts: Facts
    prediction: Prediction
    probability: float | None = None  # that the SLO is kept, where no candidate was expected to keep it
    shadow_usd: float = 0.0


class Redecision(NamedTuple):
    """What a policy decides."""

    chosen: Assessment
    is_met: bool  # a candidate that passes every filter is expected to keep the SLO
    is_drawn: bool  # randomness chose between equals, or sent a trial
    pool: Sequence[Assessment]  # what was picked from
    home: str
    rejections: tuple[Rejection, ...]


class Draws:
    """Randomness that knows whether it was asked to choose."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311  # repeatable, and nothing secret
        self.asked = False

    def choice(self, seq: Sequence[Item], /) -> Item:
        """One of the items."""
        self.asked = True
        return self._rng.choice(seq)

    def random(self) -> float:
        """From 0 to below 1."""
        return self._rng.random()


def demand_of(decision: RecordedDecision, features: Features, slo: Slo) -> Demand:
    """What the recorded rejections tell of the request beyond its features and SLO."""
    by_filter: dict[str, set[str]] = {}
    ceiling: float | None = None
    for one in decision.rejections:
        by_filter.setdefault(one.filter, set()).add(one.deployment)
        if one.filter == "cost_ceiling" and isinstance(one.limit, float | int):
            ceiling = one.limit
    tried, circuits, denied, full = (
        frozenset(by_filter.get(name, ())) for name in ("already_tried", "circuit", "account", "quota")
    )
    spared = frozenset(
        one.deployment for one in decision.rejections if (one.filter, one.value) == ("circuit", RECOVERING)
    )
    scarce = frozenset(one.deployment for one in decision.rejections if (one.filter, one.value) == ("quota", KEPT))
    elsewhere = {
        one.deployment
        for one in decision.rejections
        if one.filter == "capability" and SERVICE_TIER in str(one.value).split(",")
    }
    faults = {one.deployment: str(one.value) for one in decision.rejections if one.filter == "answers"}
    return Demand(
        features,
        slo,
        tried=tried,
        cost_ceiling_per_1k_usd=ceiling,
        shut=circuits - spared,
        answer_faults=faults,
        denied=denied,
        full=full - scarce,
        spared=spared,
        home=decision.cached_at,
        scarce=scarce,
        in_tier=frozenset(one.deployment for one in decision.candidates) - elsewhere if elsewhere else None,
    )


def redecide(demand: Demand, candidates: Sequence[Foreseen], group: GroupSettings, draws: Draws) -> Redecision:
    """The pick of `group`'s policy among `candidates`, which is not empty."""
    asked = demand._replace(max_error_rate=group.max_error_rate)
    chances = {one.facts.deployment_id: one.probability for one in candidates}
    facts, predictions = [one.facts for one in candidates], [one.prediction for one in candidates]
    draws.asked = False
    chosen, is_met, pool, unable = choose(
        asked,
        facts,
        predictions,
        group,
        _view(draws),
        chance=lambda one: chances[one.deployment_id],
        shadow_usd={one.facts.deployment_id: one.shadow_usd for one in candidates if one.shadow_usd},
    )
    return Redecision(chosen, is_met, draws.asked, pool, demand.home, rejections_of(unable))


def possible(found: Redecision, group: GroupSettings) -> frozenset[str]:
    """Everything that the pick could have been, trials aside."""
    return _picks(found, group, 0.0)


def trials(found: Redecision, group: GroupSettings) -> frozenset[str]:
    """What a trial could have been sent to; empty where the policy has none."""
    return _picks(found, group, 1.0) - possible(found, group) if group.trial_share > 0 else frozenset()


def _picks(found: Redecision, group: GroupSettings, trial_share: float) -> frozenset[str]:
    settled = group.model_copy(update={"trial_share": trial_share})
    picked = (pick(found.pool, settled, _view(Draws(seed)), found.home) for seed in range(DRAWS))
    return frozenset(one.deployment_id for one in picked)


def _view(draws: Draws) -> View:
    """The pick looks at nothing but the draws: what was measured is in the predictions."""
    return View(_NOTHING, 0.0, draws)


_NOTHING = Snapshot()
