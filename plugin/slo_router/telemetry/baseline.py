"""What a request would have cost without a router: the counterfactual behind the metrics of savings. Pure.

Without a router a team sends everything to the model that it trusts with everything. So the baseline of a request is
its dearest candidate, of those that could have taken it (context window and capabilities), priced with the tokens that
the request really had. That assumes that its answer would have been as long as the one that was given. One of unknown
price is no baseline. Metrics, dashboards and reports take it from here, and call it `BASELINE`.

Prices per token are exact. A self-hosted deployment costs its USD per 1,000 tokens at measured throughput, as the
decision knew it. Discounts for cached prompts are in what LiteLLM booked, not in the counterfactual.
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
    """The baseline among candidates that could have taken a request, with what it would have cost there (USD)."""
    best, highest_usd = None, -1.0
    for candidate, usd in costs:
        if usd is not None and usd > highest_usd:
            best, highest_usd = candidate, usd
    return best, None if best is None else highest_usd


def baseline(decision: Decision, record: RequestRecord, facts: Mapping[str, Facts]) -> tuple[Assessment, float | None]:
    """The candidate that would have served this request without a router, and the USD; the pick where nobody knows.

    Where the request's tokens are unknown the candidates are compared by what was expected of them.
    """
    unable = {one.deployment_id for one in decision.rejections if one.filter in UNABLE}
    able = [one for one in decision.assessments if one.deployment_id not in unable]
    best, usd = dearest((one, cost_usd(facts.get(one.deployment_id), one, record)) for one in able)
    if best is None:
        best, _ = dearest((one, one.prediction.cost_usd) for one in able)
    return best or decision.selected or decision.assessments[0], usd


def cost_usd(facts: Facts | None, candidate: Assessment | None, record: RequestRecord) -> float | None:
    """What a request's real tokens cost on a deployment, `None` where nobody knows."""
    prompt_tokens, completion_tokens = record.prompt_tokens, record.completion_tokens
    if prompt_tokens is None or completion_tokens is None:
        return None
    per_1k_usd = None if candidate is None else candidate.prediction.cost_per_1k_usd
    return tokens_usd(facts, prompt_tokens, completion_tokens, per_1k_usd)


def spent_usd(record: RequestRecord, facts: Facts | None, chosen: Assessment | None) -> float | None:
    """What a request cost: what LiteLLM booked, but for a self-hosted deployment, or where it booked nothing, its price
    or what was measured; `None` where nobody knows.
    """
    is_self_hosted = facts is not None and facts.gpu_usd_per_hour is not None
    if record.outcome in ("success", "disconnected") and (is_self_hosted or record.cost_usd is None):
        return cost_usd(facts, chosen, record)
    return record.cost_usd
