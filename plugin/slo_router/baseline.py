"""What a request would have cost without a router: the counterfactual behind the metrics of savings. Pure.

Without a router a team sends everything to the model that it trusts with everything. So the baseline of a request is
the candidate that its decision expected to be the dearest, of those that could have taken it (context window and
capabilities). It is priced with the tokens that the request really had, which assumes that its answer would have been
as long as the one that was given; `reporting.counterfactual` reckons alike from the request records.

Prices per token are exact. A self-hosted deployment costs its USD per 1,000 tokens at measured throughput, as the
decision knew it. Discounts for cached prompts are in what LiteLLM booked, not in the counterfactual.
"""

from __future__ import annotations

from slo_router.contract import RequestRecord
from slo_router.domain import Assessment, Decision, Facts
from slo_router.pricing import cost_usd as price_of

UNABLE = frozenset({"context_window", "capability", "answer_limit"})


def baseline(decision: Decision) -> Assessment:
    """The candidate that would have served this request without a router."""
    unable: set[str] = set()
    for rejection in decision.rejections:
        if rejection.filter in UNABLE:
            unable.add(rejection.deployment_id)
    best, highest_usd = decision.assessments[0], -1.0
    for candidate in decision.assessments:  # a plain loop: it runs for every request
        usd = candidate.prediction.cost_usd
        if usd is not None and usd > highest_usd and candidate.deployment_id not in unable:
            best, highest_usd = candidate, usd
    return best


def cost_usd(facts: Facts | None, candidate: Assessment | None, record: RequestRecord) -> float | None:
    """What a request's real tokens cost on a deployment, `None` where nobody knows."""
    prompt_tokens, completion_tokens = record.prompt_tokens, record.completion_tokens
    if prompt_tokens is None or completion_tokens is None:
        return None
    if facts is not None and facts.gpu_usd_per_hour is None:
        usd = price_of(facts, prompt_tokens, completion_tokens)
        if usd is not None:
            return usd
    per_1k_usd = None if candidate is None else candidate.prediction.cost_per_1k_usd
    return None if per_1k_usd is None else per_1k_usd * (prompt_tokens + completion_tokens) / 1_000


def spent_usd(record: RequestRecord, facts: Facts | None, chosen: Assessment | None) -> float | None:
    """What a request cost: what LiteLLM booked, but for a self-hosted deployment what was measured."""
    if record.outcome in ("success", "disconnected") and facts is not None and facts.gpu_usd_per_hour is not None:
        return cost_usd(facts, chosen, record)
    return record.cost_usd
