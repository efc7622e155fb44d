"""Cost in USD per 1,000 tokens, prompt and completion together, at the measured mix; and break-even.

    provider     1,000 × ((P − K) × input price + K × cached price + C × output price) ÷ (P + C)    USD per token
    self-hosted  1,000 × (gpu_usd_per_hour ÷ 3,600) ÷ (U × (P + C) tokens per second)

P and C are the prompt and completion tokens of the cell's successes. K are the prompt tokens from a prefix cache, 0 if
unreported. U is the utilization that the user states: the share of its paid hours in which a GPU serves as much as
measured. `gpu_usd_per_hour` wins over token prices. An unknown price or token count makes the cost unknown, not zero.

    break-even requests per hour  =  gpu_usd_per_hour ÷ (USD per request at the provider)
    capacity, requests per hour   =  3,600 × measured requests per second × U

Above the break-even the GPU is cheaper. If the break-even is beyond the capacity, the GPU is never cheaper, and neither
are several GPUs. The capacity is that of the measured load; a sweep finds what saturates the GPU.
"""

from __future__ import annotations

from typing import NamedTuple

from slo_bench.guard.budget import request_usd
from slo_bench.summary.stats import CellStats
from slo_router.contract.model import Facts

SECONDS_PER_HOUR = 3_600


class BreakEven(NamedTuple):
    """A deployment paid by the GPU hour against one paid by the token."""

    gpu_usd_per_hour: float
    usd_per_request: float  # at the provider
    tokens_per_request: float  # there, prompt and completion
    capacity_per_hour: float  # requests that the GPU serves at most

    @property
    def requests_per_hour(self) -> float | None:
        """The break-even; above it the GPU is cheaper. `None` where the provider is free."""
        return self.gpu_usd_per_hour / self.usd_per_request if self.usd_per_request else None

    @property
    def tokens_per_hour(self) -> float | None:
        """The break-even in tokens per hour."""
        requests = self.requests_per_hour
        return None if requests is None else requests * self.tokens_per_request

    @property
    def reachable(self) -> bool:
        """Whether the break-even is within the GPU's capacity."""
        return self.requests_per_hour is not None and self.requests_per_hour <= self.capacity_per_hour


def cost_per_1k_usd(facts: Facts, stats: CellStats, utilization: float = 1.0) -> float | None:
    """USD per 1,000 tokens of a deployment in a cell. `utilization` is in (0, 1], and matters to GPU hours alone."""
    if facts.gpu_usd_per_hour is not None:
        tps = stats.total_tps
        return 1_000 * facts.gpu_usd_per_hour / SECONDS_PER_HOUR / (tps * utilization) if tps else None
    usd, tokens = _paid_usd(facts, stats), _tokens(stats)
    return None if usd is None or not tokens else 1_000 * usd / tokens


def break_even(
    gpu: Facts, gpu_stats: CellStats, priced: Facts, priced_stats: CellStats, utilization: float = 1.0
) -> BreakEven | None:
    """The break-even of two deployments in a category; `None` if not one of each kind, or if a value is unknown."""
    rate, served = gpu_stats.requests_per_s, priced_stats.succeeded
    if gpu.gpu_usd_per_hour is None or priced.gpu_usd_per_hour is not None or not rate or not served:
        return None
    usd, tokens = _paid_usd(priced, priced_stats), _tokens(priced_stats)
    if usd is None or tokens is None:
        return None
    capacity = SECONDS_PER_HOUR * rate * utilization
    return BreakEven(gpu.gpu_usd_per_hour, usd / served, tokens / served, capacity)


def _paid_usd(facts: Facts, stats: CellStats) -> float | None:
    """USD for the successes of a cell, by the token."""
    if stats.prompt_tokens is None or stats.completion_tokens is None:
        return None
    return request_usd(facts, stats.prompt_tokens, stats.completion_tokens, stats.cached_tokens or 0)


def _tokens(stats: CellStats) -> int | None:
    if stats.prompt_tokens is None or stats.completion_tokens is None:
        return None
    return stats.prompt_tokens + stats.completion_tokens
