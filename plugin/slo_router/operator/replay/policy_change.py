"""Replaces the old YAML's values in a recorded request by a new YAML's, so that the new policy can decide it.

A record holds the values that counted (the SLO, each candidate's quality and cost), but not their sources. So the rule
is: a value that equals the old YAML's came from the old YAML, and the new YAML's replaces it. A different value came
from the request, its key or a measurement, and stays. A changed list price is the new YAML's.

A deployment that only the new YAML has is a candidate without measurements. A deployment of the old YAML that the
record lacks was not available to that request, and stays unavailable.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from slo_router.contract.model import Facts, Features, Prediction, Slo
from slo_router.contract.prices import cost_usd as price_of
from slo_router.contract.settings.config import Settings
from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.units import to_s
from slo_router.decision.filters import Demand
from slo_router.decision.known import NOT_JUDGED
from slo_router.operator.replay.counterfactual import list_price
from slo_router.operator.replay.recorded import Recorded, RecordedDecision, features_of, prediction_of, slo_of
from slo_router.operator.replay.redecision import Foreseen, demand_of
from slo_router.quality.judging import Judged
from slo_router.quality.posterior import Belief

SAME = 1e-9  # relative difference that still counts as equal, for milliseconds were converted to seconds and back


class Side(NamedTuple):
    """One YAML's settings and deployments of a group."""

    settings: GroupSettings
    facts: dict[str, Facts]


class PolicyChange:
    """The change from an old YAML to a new one. `judged`: what is believed now of deployments that no record has."""

    def __init__(self, old: Settings, new: Settings, judged: Judged = NOT_JUDGED) -> None:
        self._old, self._new, self._judged = _sides(old), _sides(new), judged
        self.old_policy, self.new_policy = old.plugin.policy, new.plugin.policy

    def group(self, record: Recorded) -> Side | None:
        """The new YAML's side of the record's group; `None` where it does not manage that group."""
        return self._new.get(record.model_group or "")

    def demand(self, record: Recorded, decision: RecordedDecision, new: Side) -> Demand:
        """The request, with the new group's SLO in the fields that came from the old YAML."""
        old = self._old.get(record.model_group or "")
        slo = slo_of(record)
        if old is not None:
            category = decision.category
            pairs = zip(slo, default_slo(old.settings, category), default_slo(new.settings, category), strict=True)
            slo = Slo(*(after if _same(value, before) else value for value, before, after in pairs))
        return demand_of(decision, features_of(record, decision), slo)

    def candidates(self, record: Recorded, decision: RecordedDecision, new: Side) -> list[Foreseen]:
        """The candidates under the new YAML; may be empty."""
        old = self._old.get(record.model_group or "")
        before = {} if old is None else old.facts
        features = features_of(record, decision)
        found: list[Foreseen] = []
        for one in decision.candidates:
            facts = new.facts.get(one.deployment)
            if facts is not None:
                prediction = _renewed(prediction_of(one.predicted), features, before.get(one.deployment), facts)
                found.append(Foreseen(facts, prediction, one.probability, one.shadow_usd))
        for name, facts in new.facts.items():
            if name not in before and all(one.deployment != name for one in decision.candidates):
                belief = self._judged.get(name, {}).get(features.category)
                found.append(Foreseen(facts, _unmeasured(facts, features, belief)))
        return found

    def cannot_follow(self) -> list[str]:
        """Changes that a replay cannot show, in words."""
        notes: list[str] = []
        for name in self._old.keys() & self._new.keys():
            old, new = self._old[name].settings, self._new[name].settings
            if old.confidence != new.confidence:
                notes.append(f"{name}: confidence changed; predictions are recorded at {old.confidence:g} alone")
            if (old.quality_confidence, old.prior_answers) != (new.quality_confidence, new.prior_answers):
                notes.append(f"{name}: quality_confidence or prior_answers changed; bounds stay as they were recorded")
            if (old.categorizer, old.categories) != (new.categorizer, new.categories):
                notes.append(f"{name}: categories changed; each request keeps the category it was given")
            if new.target is not None and new.target.usd_per_day is not None:
                notes.append(f"{name}: a target in USD a day needs live traffic; each request keeps its recorded worth")
        return notes


def default_slo(group: GroupSettings, category: str) -> Slo:
    """The SLO of a request that sets none."""
    slo = group.slo
    ttft_s, tpot_s, e2e_s = map(to_s, (slo.ttft_ms, slo.tpot_ms, slo.e2e_ms))
    return Slo(ttft_s, tpot_s, e2e_s, slo.cost_per_1k, group.quality_floor(category))


def _sides(settings: Settings) -> dict[str, Side]:
    return {
        name: Side(group, {one.facts.deployment_id: one.facts for one in settings.deployments if one.group == name})
        for name, group in settings.plugin.groups.items()
    }


def _renewed(prediction: Prediction, features: Features, before: Facts | None, after: Facts) -> Prediction:
    category = features.category
    recorded = prediction.quality, prediction.quality_bound
    if before is not None and all(_same(one, before.quality_for(category)) for one in recorded):
        typed = after.quality_for(category)
        prediction = prediction._replace(quality=typed, quality_bound=typed)
    if before is not None and list_price(before) == list_price(after):
        return prediction  # its cost includes cached tokens and measured GPU hours
    if prediction.output_tokens is not None:  # the features have the length that the recorded pick would write
        features = features._replace(output_tokens=round(prediction.output_tokens))
    cost_usd, per_1k_usd = _listed(after, features)
    return prediction if cost_usd is None else prediction._replace(cost_usd=cost_usd, cost_per_1k_usd=per_1k_usd)


def _unmeasured(facts: Facts, features: Features, belief: Belief | None) -> Prediction:
    typed, costs = facts.quality_for(features.category), _listed(facts, features)
    found = Prediction(None, None, None, *costs, typed, None, "none", None, None, quality_bound=typed)
    if belief is None:
        return found
    return found._replace(
        quality=belief.mean, quality_bound=belief.bound, quality_answers=belief.sources, quality_at_s=belief.at_s
    )


def _listed(facts: Facts, features: Features) -> tuple[float | None, float | None]:
    if list_price(facts) is None:
        return None, None
    cost_usd = price_of(facts, features.prompt_tokens, features.output_tokens)
    tokens = features.prompt_tokens + features.output_tokens
    return cost_usd, cost_usd * 1_000 / tokens if tokens and cost_usd is not None else None


def _same(value: float | None, other: float | None) -> bool:
    if value is None or other is None:
        return value is other
    return math.isclose(value, other, rel_tol=SAME)
