"""USD per 1,000 tokens, prompt and completion together, at the mix that was measured.

    provider     1,000 × (P × input price + C × output price) ÷ (P + C)       prices in USD per token
    self-hosted  1,000 × (gpu_usd_per_hour ÷ 3,600) ÷ (P + C tokens per second)

P and C are the prompt and completion tokens of the cell's successes. A GPU is paid by the hour whatever it serves, so
`gpu_usd_per_hour` wins over token prices, and its cost per token is that of the load the agent made: at a lower load
each token costs more. A price or a token count that nobody knows makes the cost unknown, not zero.
"""

from __future__ import annotations

from slo_bench.stats import CellStats
from slo_router.domain import Facts

SECONDS_PER_HOUR = 3_600


def cost_per_1k_usd(facts: Facts, stats: CellStats) -> float | None:
    """USD per 1,000 tokens of a deployment in a cell."""
    if facts.gpu_usd_per_hour is not None:
        return _self_hosted(facts.gpu_usd_per_hour, stats.total_tps)
    return _priced(facts, stats.prompt_tokens, stats.completion_tokens)


def _self_hosted(gpu_usd_per_hour: float, total_tps: float | None) -> float | None:
    if not total_tps:
        return None
    return 1_000 * gpu_usd_per_hour / SECONDS_PER_HOUR / total_tps


def _priced(facts: Facts, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
    input_usd, output_usd = facts.input_usd_per_token, facts.output_usd_per_token
    if input_usd is None or output_usd is None or prompt_tokens is None or completion_tokens is None:
        return None
    tokens = prompt_tokens + completion_tokens
    return 1_000 * (prompt_tokens * input_usd + completion_tokens * output_usd) / tokens if tokens else None
