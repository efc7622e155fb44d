"""The cost of a request's tokens by a deployment's prices. Every cost is computed here. Pure.

    by token     prompt × input price + answer × output price, and a price per request where there is one
    by kind      the extra cost of a token of each of `PROMPT_KINDS` and `ANSWER_KINDS`, beyond a plain token
    by tier      above a number of prompt tokens other prices hold, for all tokens of the request
    by second    where tokens have no price: the seconds until the last token × the price per second
    marked       with LiteLLM's discount and margin: `settings.pricing.markups`, where LiteLLM itself is not asked

In the proxy the prices are those by which LiteLLM bills (`gateway.billing`). Commands read them from the YAML and from
LiteLLM's price map. Self-hosted deployments (`gpu_usd_per_hour`) have no price here: their cost is measured. An unknown
price or cost is `None`.
"""

from __future__ import annotations

from collections.abc import Mapping

from slo_router.contract.model import EMPTY, Facts, Tier

PROMPT_KINDS = ("written", "written_1h", "audio", "image")  # written: to a cache, for five minutes or an hour
ANSWER_KINDS = ("reasoning", "answer_audio", "answer_image")


def rates(facts: Facts, prompt_tokens: float) -> tuple[float | None, float | None, float | None]:
    """USD per token of input, output and cached input, for a prompt of this length."""
    input_usd, output_usd = facts.input_usd_per_token, facts.output_usd_per_token
    cached_usd = facts.cached_usd_per_token
    for tier in facts.tiers:  # ascending
        if prompt_tokens <= tier.above_tokens:
            break
        input_usd, output_usd = tier.input_usd, tier.output_usd
        cached_usd = cached_usd if tier.cached_usd is None else tier.cached_usd
    return input_usd, output_usd, cached_usd


def cost_usd(
    facts: Facts,
    prompt_tokens: float,
    output_tokens: float,
    cached_tokens: float = 0,
    seconds: float | None = None,
    *,
    kinds: Mapping[str, float] = EMPTY,
) -> float | None:
    """USD of one request, `None` where a price is missing. Without a cached price, a cached token costs as any other.

    `kinds` are tokens by kind. They are parts of the prompt or the answer, without cached tokens. `seconds` is the time
    until the last token.
    """
    input_usd, output_usd, cached_usd = facts.input_usd_per_token, facts.output_usd_per_token, None
    if facts.tiers or cached_tokens:
        input_usd, output_usd, cached_usd = rates(facts, prompt_tokens)
    if input_usd is None or output_usd is None:
        by_second = facts.usd_per_second
        return None if by_second is None or seconds is None else by_second * seconds + (facts.usd_per_request or 0.0)
    usd = prompt_tokens * input_usd + output_tokens * output_usd
    if cached_tokens and cached_usd is not None:
        usd -= cached_tokens * (input_usd - cached_usd)
    if kinds:
        extra_usd = _extra_usd(facts, prompt_tokens)
        usd += sum(tokens * extra_usd.get(kind, 0.0) for kind, tokens in kinds.items())
    return usd if facts.usd_per_request is None else usd + facts.usd_per_request


def _extra_usd(facts: Facts, prompt_tokens: float) -> Mapping[str, float]:
    above: list[Tier] = [tier for tier in facts.tiers if prompt_tokens > tier.above_tokens]
    return above[-1].extra_usd if above else facts.extra_usd


def tokens_usd(
    facts: Facts | None, prompt_tokens: int, completion_tokens: int, per_1k_usd: float | None
) -> float | None:
    """USD of a request's real tokens, `None` where unknown: by the prices, else by `per_1k_usd`, the expected USD per
    1,000 tokens. `facts` are `None` where the deployment is no longer configured.
    """
    usd = None
    if facts is not None and facts.gpu_usd_per_hour is None:
        usd = cost_usd(facts, prompt_tokens, completion_tokens)
    if usd is not None or per_1k_usd is None:
        return usd
    return per_1k_usd * (prompt_tokens + completion_tokens) / 1_000
