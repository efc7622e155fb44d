"""What a request cost, and what its tokens would have cost at the baseline's price.

The tokens of prompt and answer are those of the request as served. The only assumption is that the baseline would have
written as many output tokens; prices are exact. A deployment without a list price (self-hosted, or no longer in the
YAML) counts at its recorded USD per 1,000 tokens, which is an estimate.

The default baseline is that of the metrics (`baseline.dearest`). A request saves nothing, and its baseline cost is what
was spent, if LiteLLM routed it (also in shadow), if LiteLLM's cache answered it, if the baseline served it, or if it
has a cost but no tokens. A request of unknown cost has no accounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from slo_router.contract.model import Facts, Tier
from slo_router.contract.prices import rates, tokens_usd
from slo_router.decision.known import NOT_JUDGED
from slo_router.errors import SettingsError
from slo_router.operator.replay.recorded import Candidate, Recorded
from slo_router.quality.judging import Judged
from slo_router.telemetry.baseline import UNABLE, dearest


class Price(NamedTuple):
    """USD per token, and USD per request in addition. Without the first two, only prompts above a tier have a price."""

    input_usd: float | None
    output_usd: float | None
    tiers: tuple[Tier, ...] = ()
    usd_per_request: float | None = None
    cached_usd: float | None = None


class Money(NamedTuple):
    """One request's accounts. `None` where neither prices nor measurements tell the value."""

    spent_usd: float | None
    baseline_usd: float | None
    quality: float | None  # 0..1, expected by the decision of the deployment that answered
    baseline_quality: float | None
    is_exact: bool  # only list prices were used


NO_MONEY = Money(None, None, None, None, is_exact=True)


def list_price(facts: Facts) -> Price | None:
    """The price in the YAML or LiteLLM's price map; `None` where cost comes from GPU hours, or is unknown."""
    input_usd, output_usd, cached_usd = rates(facts, 0)
    if facts.gpu_usd_per_hour is not None or not (facts.tiers or (input_usd is not None and output_usd is not None)):
        return None
    return Price(input_usd, output_usd, facts.tiers, facts.usd_per_request, cached_usd)


class Counterfactual:
    """Computes requests' accounts, against one baseline or each request's dearest candidate.

    Raises SettingsError for an unknown baseline.
    """

    def __init__(self, facts: Iterable[Facts], baseline: str | None = None, judged: Judged = NOT_JUDGED) -> None:
        known = {one.deployment_id: one for one in facts}
        if baseline is not None and baseline not in known:
            raise SettingsError(f"baseline: {baseline!r}, expected a deployment id: {', '.join(known)}")
        self._baseline, self._judged = baseline, judged
        self._self_hosted = frozenset(name for name, one in known.items() if one.gpu_usd_per_hour is not None)
        self._known: Mapping[str, Facts] = known

    def account(self, record: Recorded) -> Money:
        """One request's accounts: what it cost, and what the baseline would have cost."""
        prompt, completion, name = record.prompt_tokens, record.completion_tokens, record.deployment
        if record.outcome == "error" or name is None:
            return NO_MONEY
        if prompt is None or completion is None:  # LiteLLM may have booked a cost
            booked_usd = None if name in self._self_hosted and record.outcome != "cache_hit" else record.cost_usd
            return NO_MONEY._replace(spent_usd=booked_usd, baseline_usd=booked_usd)
        decision = record.decision
        candidates = () if decision is None else decision.candidates
        chosen = next((one for one in candidates if one.deployment == name), None)
        quality = None if chosen is None else chosen.predicted.quality
        spent_usd, is_exact = record.cost_usd, name not in self._self_hosted
        if (spent_usd is None or not is_exact) and record.outcome != "cache_hit":
            spent_usd = self._cost(name, chosen, prompt, completion)
        if decision is None or decision.shadow or spent_usd is None or record.outcome == "cache_hit":
            return Money(spent_usd, spent_usd, quality, quality, is_exact)
        if self._baseline is not None:
            baseline = next((one for one in candidates if one.deployment == self._baseline), None)
            baseline_name: str = self._baseline
            baseline_usd = self._cost(baseline_name, baseline, prompt, completion)
        else:
            baseline, baseline_usd = self._dearest(record, prompt, completion)
            baseline_name = name if baseline is None else baseline.deployment
        if baseline_name == name:
            return Money(spent_usd, spent_usd, quality, quality, is_exact)
        believed = self._believed(baseline_name, baseline, record.category)
        is_listed = tokens_usd(self._known.get(baseline_name), prompt, completion, None) is not None
        return Money(spent_usd, baseline_usd, quality, believed, is_exact and is_listed)

    def price(self, name: str) -> Price | None:
        """A deployment's list price."""
        facts = self._known.get(name)
        return None if facts is None else list_price(facts)

    def cost_usd(self, name: str, candidate: Candidate | None, record: Recorded) -> float | None:
        """USD that a deployment would have charged for this request's tokens; `None` where unknown."""
        if record.prompt_tokens is None or record.completion_tokens is None:
            return None
        return self._cost(name, candidate, record.prompt_tokens, record.completion_tokens)

    def _cost(self, name: str, candidate: Candidate | None, prompt: int, completion: int) -> float | None:
        per_1k_usd = None if candidate is None else candidate.predicted.cost_per_1k
        return tokens_usd(self._known.get(name), prompt, completion, per_1k_usd)

    def _dearest(self, record: Recorded, prompt: int, completion: int) -> tuple[Candidate | None, float | None]:
        decision = record.decision
        unable = (
            {one.deployment for one in decision.rejections if one.filter in UNABLE}
            if decision is not None and decision.rejections
            else ()
        )
        able = [one for one in (() if decision is None else decision.candidates) if one.deployment not in unable]
        return dearest((one, self._cost(one.deployment, one, prompt, completion)) for one in able)

    def _believed(self, name: str, candidate: Candidate | None, category: str | None) -> float | None:
        if candidate is not None:
            return candidate.predicted.quality
        belief, facts = self._judged.get(name, {}).get(category or ""), self._known.get(name)
        if belief is not None:
            return belief.mean
        return None if facts is None else facts.quality_for(category or "default")
