"""Decides a recorded request again, by the same `choose` as a live request.

It uses the recorded predictions. Faulty answers, circuits, failed tries and the key's cost ceiling come from the
recorded rejections. If the pick depends on a draw (equal costs or ranks, a trial of a cheaper candidate), the
redecision tells so. `possible` and `trials` then name the other possible picks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from slo_router.contract.model import Assessment, Facts, Features, Prediction, Rejection, Slo, Snapshot
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import choose, rejections_of
from slo_router.decision.filters import SERVICE_TIER, Demand
from slo_router.decision.picking import pick
from slo_router.decision.prediction import View
from slo_router.decision.relaxation import BESIDE, KEPT, RECOVERING
from slo_router.operator.replay.recorded import RecordedDecision

DRAWS = 16  # this many repeated picks find all the picks that a draw could make

Item = TypeVar("Item")


class Foreseen(NamedTuple):
    """One candidate with its prediction."""

    facts: Facts
    prediction: Prediction
    probability: float | None = None  # that the SLO is kept, where no candidate was expected to keep it
    shadow_usd: float = 0.0


class Redecision(NamedTuple):
    """A policy's decision on a recorded request."""

    chosen: Assessment
    is_met: bool  # a candidate that passes every filter is expected to keep the SLO
    is_drawn: bool  # a draw chose between equals, or sent a trial
    pool: Sequence[Assessment]  # the candidates that the pick was made from
    home: str
    rejections: tuple[Rejection, ...]


class Draws:
    """A random source that notes in `asked` whether it had to choose."""

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
    """The demand of a recorded request, from its features, its SLO and the recorded rejections."""
    by_filter: dict[str, set[str]] = {}
    ceiling: float | None = None
    for one in decision.rejections:
        by_filter.setdefault(one.filter, set()).add(one.deployment)
        if one.filter == "cost_ceiling" and isinstance(one.limit, float | int):
            ceiling = one.limit
    tried, circuits, denied, full = (
        frozenset(by_filter.get(name, ())) for name in ("already_tried", "circuit", "account", "quota")
    )
    softly = ("circuit", RECOVERING), ("quota", KEPT), ("already_tried", BESIDE)
    spared, scarce, beside = (
        frozenset(one.deployment for one in decision.rejections if (one.filter, one.value) == why) for why in softly
    )
    elsewhere = {
        one.deployment
        for one in decision.rejections
        if one.filter == "capability" and SERVICE_TIER in str(one.value).split(",")
    }
    faults = {one.deployment: str(one.value) for one in decision.rejections if one.filter == "answers"}
    return Demand(
        features,
        slo,
        tried=tried - beside,
        cost_ceiling_per_1k_usd=ceiling,
        shut=circuits - spared,
        answer_faults=faults,
        denied=denied,
        full=full - scarce,
        spared=spared,
        home=decision.cached_at,
        scarce=scarce,
        in_tier=frozenset(one.deployment for one in decision.candidates) - elsewhere if elsewhere else None,
        worth_usd=decision.worth_usd,
        beside=beside,
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
    """All deployments that the pick could be, without trials."""
    return _picks(found, group, 0.0)


def trials(found: Redecision, group: GroupSettings) -> frozenset[str]:
    """The deployments that only a trial could be sent to; empty where the policy has no trials."""
    return _picks(found, group, 1.0) - possible(found, group) if group.trial_share > 0 else frozenset()


def _picks(found: Redecision, group: GroupSettings, trial_share: float) -> frozenset[str]:
    settled = group.model_copy(update={"trial_share": trial_share})
    picked = (pick(found.pool, settled, _view(Draws(seed)), found.home) for seed in range(DRAWS))
    return frozenset(one.deployment_id for one in picked)


def _view(draws: Draws) -> View:
    """A view for `pick`, which uses only the draws: all measurements are in the predictions."""
    return View(_NOTHING, 0.0, draws)


_NOTHING = Snapshot()
