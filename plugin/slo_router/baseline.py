"""What a request would have cost without a router: the counterfactual behind every figure of savings. Pure.

Without a router a team sends everything to the model that it trusts most. So the baseline of a request is, among the
candidates of its decision that could have taken it (context window and capabilities), the one with the highest quality
for the category; among equals, and where no quality is known, the dearest. It is priced with the tokens that the
request really had, which assumes that the baseline's answer would have been as long as the answer that was given.

Both sides are priced alike: at the prices per token that LiteLLM books, and where a self-hosted deployment has none, at
its measured USD per 1,000 tokens. Discounts for cached prompts are in what LiteLLM booked, not in the counterfactual.
"""

from __future__ import annotations

from slo_router.contract import RequestRecord
from slo_router.domain import Assessment, Decision, Facts

UNABLE = frozenset({"context_window", "capability"})


def baseline(decision: Decision) -> Assessment:
    """The candidate that would have served this request without a router."""
    unable: set[str] = set()
    for rejection in decision.rejections:
        if rejection.filter in UNABLE:
            unable.add(rejection.deployment_id)
    best, best_quality, best_usd = decision.assessments[0], -2.0, -2.0
    for candidate in decision.assessments:  # a plain loop: it runs for every request
        if unable and candidate.deployment_id in unable:
            continue
        prediction = candidate.prediction
        quality = -1.0 if prediction.quality is None else prediction.quality
        if quality < best_quality:
            continue
        usd = -1.0 if prediction.cost_usd is None else prediction.cost_usd
        if quality > best_quality or usd > best_usd:
            best, best_quality, best_usd = candidate, quality, usd
    return best


def cost_usd(facts: Facts | None, per_1k_usd: float | None, prompt_tokens: int, completion_tokens: int) -> float | None:
    """What these tokens cost on a deployment, `None` where nobody knows.

    `per_1k_usd` is its predicted USD per 1,000 tokens, which counts where it has no prices per token.
    """
    if facts is not None and facts.input_usd_per_token is not None and facts.output_usd_per_token is not None:
        return prompt_tokens * facts.input_usd_per_token + completion_tokens * facts.output_usd_per_token
    return None if per_1k_usd is None else per_1k_usd * (prompt_tokens + completion_tokens) / 1_000


def baseline_usd(best: Assessment, facts: Facts | None, record: RequestRecord) -> float | None:
    """What a request's real tokens would have cost on the baseline, whose facts these are; `None`: nobody knows."""
    return cost_usd(facts, best.prediction.cost_per_1k_usd, record.prompt_tokens or 0, record.completion_tokens or 0)


def spent_usd(record: RequestRecord, facts: Facts | None, chosen: Assessment | None) -> float | None:
    """What a request cost: what LiteLLM booked, or for a deployment without prices per token what was measured."""
    if facts is not None and facts.input_usd_per_token is None and chosen is not None and record.cost_usd is not None:
        per_1k_usd = chosen.prediction.cost_per_1k_usd
        measured_usd = cost_usd(facts, per_1k_usd, record.prompt_tokens or 0, record.completion_tokens or 0)
        return record.cost_usd if measured_usd is None else measured_usd
    return record.cost_usd
