"""Decides a recorded request again under its own policy, and tells whether the two decisions agree."""

from __future__ import annotations

from slo_router.contract.model import Facts
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.replay.recorded import Recorded, RecordedDecision, features_of, prediction_of, slo_of
from slo_router.operator.replay.redecision import Draws, Foreseen, demand_of, possible, redecide, trials


def decided_again(
    record: Recorded, decision: RecordedDecision, group: GroupSettings, facts: dict[str, Facts]
) -> tuple[bool, str]:
    """Whether the two decisions agree, and an explanation. `group` and `facts` are those of the deciding policy."""
    missing = [one.deployment for one in decision.candidates if one.deployment not in facts]
    if missing:
        return False, f"not decided again: {', '.join(missing)} left the YAML"
    candidates = [
        Foreseen(facts[one.deployment], prediction_of(one.predicted), one.probability, one.shadow_usd)
        for one in decision.candidates
    ]
    demand = demand_of(decision, features_of(record, decision), slo_of(record))
    found = redecide(demand, candidates, group, Draws(0))
    equals, tried = possible(found, group), trials(found, group)
    if decision.deployment in equals:
        return True, "the same" if len(equals) == 1 else f"the same, drawn from equals: {', '.join(sorted(equals))}"
    if decision.deployment in tried:
        return True, f"the same, as a trial of a cheaper one; else {', '.join(sorted(equals))}"
    return False, f"differs: {', '.join(sorted(equals))}; prices, qualities or windows may have changed since"
