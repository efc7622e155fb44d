"""What gives way when no candidate passes every filter: the softest filters first, and then the nearest candidates.

Softer than all filters are three rules. They apply only where another deployment is able:

    a deployment that recovers is spared most of its traffic
    a deployment at the address of one that was silent is not asked
    the last requests of a quota are kept for requests that no other deployment is expected to serve as asked

If every candidate is rejected, the pick is among these:

    above the key's cost ceiling        the cheapest of those that can answer, of any quality: the ceiling matters most
    too long for every context window   the largest windows: the estimate may be wrong, and only the server knows
    more than any answer may have       those with the longest answers
    below the quality floor             the best
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence

from slo_router.contract.model import Assessment, Decision, Facts, Rejection, Standing
from slo_router.decision.filters import HARDNESS

Unable = list[tuple[Assessment, list[Rejection]]]  # each with its rejections, hardest first
RECOVERING = "recovering"  # what a circuit's rejection says while the deployment recovers; else "open"
KEPT = "kept"  # what a quota's rejection says of a deployment whose last requests are kept
BESIDE = "at the address of one that was silent"  # what a rejection for `already_tried` says of an untried deployment
RECOVERS, SAME_SERVER = ("circuit", RECOVERING, "closed"), ("already_tried", BESIDE, "another address")
_SOFT = max(HARDNESS["error_rate"], HARDNESS["quality"])  # a candidate that breaks only these can still answer


def least_rejected(unable: Unable, candidates: Sequence[Facts]) -> list[Assessment]:
    """The candidates to choose from when all were rejected; not empty unless `unable` is."""
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
    """`able` without those that are to be spared, if there are others. The spared ones go to `unable`, with `why`."""
    others = [assessment for assessment in able if assessment.deployment_id not in spared]
    if not others:
        return able
    for assessment in able:
        if assessment.deployment_id in spared:
            unable.append((assessment, [Rejection(assessment.deployment_id, *why)]))
    return others


def keep(able: list[Assessment], scarce: Container[str], unable: Unable) -> list[Assessment]:
    """`able` without the `scarce` ones, which go to `unable`, if another is expected to meet the SLO."""
    if not any(one.standing is Standing.MEETS and one.deployment_id not in scarce for one in able):
        return able
    for one in able:
        if one.deployment_id in scarce:
            unable.append((one, [Rejection(one.deployment_id, "quota", KEPT, "room")]))
    return [one for one in able if one.deployment_id not in scarce]


def is_full(decision: Decision | None) -> bool:
    """Whether all that could answer are full: the pick is full, and one with room would have gone before it."""
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
