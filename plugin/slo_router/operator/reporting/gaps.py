"""Finds what is missing or cannot work in a configuration, given what was measured.

For each group and category the router decides a typical request: 1,000 prompt tokens, without an SLO of its own. A
fallback means that the group's SLO cannot be kept there. The decision tells by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from slo_router.contract.ages import ANSWER_FAULT_LASTS_S, DAY_S
from slo_router.contract.model import Decision, Facts, Features, Snapshot
from slo_router.contract.settings.config import Settings
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.explain import reason
from slo_router.decision.foresight import Ask
from slo_router.decision.groups import rules_of
from slo_router.decision.prediction import View
from slo_router.operator.replay.policy_change import default_slo
from slo_router.operator.replay.redecision import Draws
from slo_router.quality.comparing import Outcomes
from slo_router.quality.judging import NOT_FED, Fed, Graded, judge
from slo_router.request.features import OUTPUT_TOKENS, OUTPUT_TOKENS_ELSE

PROMPT_TOKENS = 1_000
STALE_S = 7 * 86_400


class Gap(NamedTuple):
    """Something to know or to fix. `where` is a group or a deployment."""

    where: str
    what: str


def find_gaps(
    settings: Settings, snapshot: Snapshot, now_s: float, fed: Fed = NOT_FED, pairs: Sequence[Outcomes] = ()
) -> list[Gap]:
    """All gaps, by group: first those of its deployments, then its own. `now_s` is Unix seconds."""
    gaps: list[Gap] = []
    for name, group in settings.plugin.groups.items():
        facts = [one.facts for one in settings.deployments if one.group == name]
        if not facts:  # the configuration's own notes say that the group is empty
            continue
        for one in facts:
            gaps += [Gap(one.name, what) for what in _of_deployment(one, group, snapshot, now_s)]
        judged = judge(facts, Graded(snapshot.measured, fed, pairs), now_s, rules_of(group))
        gaps += [Gap(name, what) for what in _of_group(group, facts, View(snapshot, now_s, Draws(0), judged=judged))]
    return gaps


def _of_deployment(facts: Facts, group: GroupSettings, snapshot: Snapshot, now_s: float) -> Iterator[str]:
    measured = snapshot.measured.get(facts.deployment_id, {})
    if not measured:
        yield "never measured: its latency is unknown until it serves traffic (slo-bench run)"
    elif (age_s := now_s - max(metrics.measured_at_s for metrics in measured.values())) > STALE_S:
        yield f"last measured {age_s / 86_400:.0f} days ago (slo-bench run)"
    has_cost = any(metrics.cost_per_1k_usd is not None for metrics in measured.values())
    if facts.gpu_usd_per_hour is not None and not has_cost:
        yield "gpu_usd_per_hour counts only once its throughput was measured (slo-bench run)"
    by_token = facts.input_usd_per_token is not None and facts.output_usd_per_token is not None
    if not has_cost and not by_token and facts.usd_per_second is None:
        yield "no price: it ranks behind every deployment that has one (input_cost_per_token, output_cost_per_token)"
    has_quality = facts.quality or any(metrics.quality_score is not None for metrics in measured.values())
    if group.min_quality and not has_quality:
        yield "no quality, and the group asks for one: it is ruled out (model_info.slo_router.quality)"
    held = ", ".join(sorted(category for category, metrics in measured.items() if metrics.quality_held))
    if held:
        yield f"its quality dropped in {held}: it passes no quality floor there (slo-bench history)"
    for category, metrics in sorted(measured.items()):
        if metrics.answer_fault:
            lasts_s = max(metrics.faulty_at_s + ANSWER_FAULT_LASTS_S - now_s, 0.0)
            yield (
                f"its answers for {category} are faulty, {metrics.answer_fault}: "
                f"it gets no more for {lasts_s / DAY_S:.1f} days, or until slo-bench run finds it sound"
            )
    if facts.context_tokens is None:
        yield "no context window: no request counts as too long for it (model_info.max_input_tokens)"


def _of_group(group: GroupSettings, facts: list[Facts], view: View) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for category in group.known_categories:
        decision = _typical(group, facts, view, category)
        if decision.kind == "fallback":
            by_reason.setdefault(reason(decision), []).append(category)
    for why, categories in by_reason.items():
        yield f"its SLO is not expected to be kept for {', '.join(categories)}: {why}"


def _typical(group: GroupSettings, facts: list[Facts], view: View, category: str) -> Decision:
    output_tokens = OUTPUT_TOKENS.get(category, OUTPUT_TOKENS_ELSE)
    features = Features(category, "client", PROMPT_TOKENS, output_tokens, output_tokens)
    settled = group.model_copy(update={"trial_share": 0.0})
    ask = Ask(features, default_slo(group, category))
    return decide(ask, facts, view, Policy(settled, ""))
