"""What gives way when no candidate passes every filter: the softest filters first, and then the nearest candidates.

Softer than all is that who recovers is spared most of its traffic: where no other is able, it answers. So does one at
the address of one that was silent. So is that the last requests of a quota are kept for those that no other deployment
is expected to serve as asked.

above the key's cost ceiling        the cheapest of those that can answer, however good: the ceiling was to be kept
too long for every context window   the largest windows: the estimate may be wrong, and the server says so best
more than any answer may have       the longest answers
below the quality floor             the best
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence

from slo_router.contract.model import Assessment, Decision, Facts, Rejection, Standing
from slo_router.decision.filters import HARDNESS

Unable = list[tuple[Assessment, list[Rejection]]]  # each with its rejections, hardest first
RECOVERING = "recovering"  # as opposed to open: what a circuit's rejection says
KEPT = "kept"  # as opposed to full: likewise a quota's
BESIDE = "at the address of one that was silent"  # as opposed to tried
RECOVERS, SAME_SERVER = ("circuit", RECOVERING, "closed"), ("already_tried", BESIDE, "another address")
_SOFT = max(HARDNESS["error_rate"], HARDNESS["quality"])  # these it may break and still answer


def least_rejected(unable: Unable, candidates: Sequence[Facts]) -> list[Assessment]:
    """The candidates to choose from, of those that were all rejected; never empty where `unable` is not."""
    hardness = [tuple(HARDNESS[rejection.filter] for rejection in found) for _, found in unable]
    softest = min(hardness)
    if HARDNESS["cost_ceiling"] in softest:
        able = [tuple(one for one in found if one > _SOFT) for found in hardness]
        most = min(able)
        return _largest([one for (one, _), found in zip(unable, able, strict=True) if found == most], _cheapness)
    left = [assessment for (assessment, _), found in zip(unable, hardness, strict=True) if found == softest]
    if softest[0] == HARDNESS["context_window"]:
        windows = {facts.deployment_id: facts.context_tokens or 0 for facts in candidates}
        too_long = [one for (one, _), found in zip(unable, hardness, strict=True) if found[0] == softest[0]]
        return _largest(too_long, lambda a: windows[a.deployment_id])
    if HARDNESS["answer_limit"] in softest:
        limits = {facts.deployment_id: facts.max_output_tokens or 0 for facts in candidates}
        return _largest(left, lambda a: limits[a.deployment_id])
    if HARDNESS["quality"] in softest:
        return _largest(left, lambda a: a.prediction.quality or 0.0)
    return left


def spare(
    able: list[Assessment], spared: Container[str], unable: Unable, why: tuple[str, str, str]
) -> list[Assessment]:
    """`able` without those that are to be spared, if there are others; those go to `unable`, with filter and values."""
    others = [assessment for assessment in able if assessment.deployment_id not in spared]
    if not others:
        return able
    for assessment in able:
        if assessment.deployment_id in spared:
            unable.append((assessment, [Rejection(assessment.deployment_id, *why)]))
    return others


def keep(able: list[Assessment], scarce: Container[str], unable: Unable) -> list[Assessment]:
    """`able` without those whose rest is kept, if another is expected to meet the SLO; those go to `unable`."""
    if not any(one.standing is Standing.MEETS and one.deployment_id not in scarce for one in able):
        return able
    for one in able:
        if one.deployment_id in scarce:
            unable.append((one, [Rejection(one.deployment_id, "quota", KEPT, "room")]))
    return [one for one in able if one.deployment_id not in scarce]


def is_full(decision: Decision | None) -> bool:
    """Whether all that could answer are full: the pick is, for whoever is not goes before."""
    if decision is None:
        return False
    return any(
        one.filter == "quota" and one.deployment_id == decision.deployment_id and one.value != KEPT
        for one in decision.rejections
    )


def _cheapness(assessment: Assessment) -> float:
    cost = assessment.prediction.cost_per_1k_usd
    return -math.inf if cost is None else -cost


def _largest(assessments: Sequence[Assessment], size: Callable[[Assessment], float]) -> list[Assessment]:
    largest = max(map(size, assessments))
    return [assessment for assessment in assessments if size(assessment) == largest]
