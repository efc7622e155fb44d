"""What a request would have cost without a router: the counterfactual behind the savings metrics. Pure.

Without a router a team sends every request to one model that can do all of them. So the baseline of a request is its
dearest candidate, among those able to take it (context window, capabilities, answer limit). Its cost is computed from
the request's real tokens. This assumes that the baseline's answer would have been as long. A candidate without a price
is no baseline. Metrics, dashboards and reports use this module, and name the baseline as in `BASELINE`.

Prices per token are exact. A self-hosted deployment costs its USD per 1,000 tokens at measured throughput, as known to
the decision. LiteLLM's booked cost includes discounts for cached prompts; the counterfactual does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from slo_router.contract.model import Assessment, Decision, Facts
from slo_router.contract.prices import tokens_usd
from slo_router.contract.record import RequestRecord

BASELINE = "each request's dearest candidate"
UNABLE = frozenset({"context_window", "capability", "answer_limit"})

Candidate = TypeVar("Candidate")


def dearest(costs: Iterable[tuple[Candidate, float | None]]) -> tuple[Candidate | None, float | None]:
    """The dearest of `costs` (candidate, USD), and its USD; `None` and `None` without any price."""
    best, highest_usd = None, -1.0
    for candidate, usd in costs:
        if usd is not None and usd > highest_usd:
            best, highest_usd = candidate, usd
    return best, None if best is None else highest_usd


def baseline(decision: Decision, record: RequestRecord, facts: Mapping[str, Facts]) -> tuple[Assessment, float | None]:
    """The request's baseline and its cost in USD.

    Where the request's tokens are unknown, predicted costs choose the baseline, and the USD are `None`. Without any
    cost the pick is the baseline.
    """
    unable = {one.deployment_id for one in decision.rejections if one.filter in UNABLE}
    able = [one for one in decision.assessments if one.deployment_id not in unable]
    best, usd = dearest((one, cost_usd(facts.get(one.deployment_id), one, record)) for one in able)
    if best is None:
        best, _ = dearest((one, one.prediction.cost_usd) for one in able)
    return best or decision.selected or decision.assessments[0], usd


def cost_usd(facts: Facts | None, candidate: Assessment | None, record: RequestRecord) -> float | None:
    """USD that a request's real tokens cost on a deployment, `None` where unknown."""
    prompt_tokens, completion_tokens = record.prompt_tokens, record.completion_tokens
    if prompt_tokens is None or completion_tokens is None:
        return None
    per_1k_usd = None if candidate is None else candidate.prediction.cost_per_1k_usd
    return tokens_usd(facts, prompt_tokens, completion_tokens, per_1k_usd)


def spent_usd(record: RequestRecord, facts: Facts | None, chosen: Assessment | None) -> float | None:
    """USD that a request cost, `None` where unknown. It is what LiteLLM booked. For a self-hosted deployment, or where
    LiteLLM booked nothing, it comes from the deployment's prices or its measured cost.
    """
    is_self_hosted = facts is not None and facts.gpu_usd_per_hour is not None
    if record.outcome in ("success", "disconnected") and (is_self_hosted or record.cost_usd is None):
        return cost_usd(facts, chosen, record)
    return record.cost_usd
