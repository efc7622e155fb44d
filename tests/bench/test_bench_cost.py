"""USD per 1,000 tokens: from prices at the measured mix, from GPU hours at the measured throughput, else unknown."""

from __future__ import annotations

import pytest

from slo_bench.cost import cost_per_1k_usd
from slo_bench.stats import CellStats, summarize
from slo_bench.stream import Sample
from slo_router.domain import Facts


def mix(prompt_tokens: int | None, completion_tokens: int | None, wall_s: float = 1.0) -> CellStats:
    return summarize([Sample(0.1, 0.2, prompt_tokens, completion_tokens)], wall_s)


def test_prices_are_weighted_by_the_measured_mix() -> None:
    facts = Facts("a", "m", input_usd_per_token=1e-6, output_usd_per_token=5e-6)
    # (300 × 1e-6 + 100 × 5e-6) / 400 tokens = 8e-4 / 400 = 2e-6 a token
    assert cost_per_1k_usd(facts, mix(300, 100)) == pytest.approx(0.002)


def test_gpu_hours_are_spread_over_all_tokens_of_the_measured_throughput() -> None:
    facts = Facts("a", "m", gpu_usd_per_hour=1.80)
    # 1.80 / 3600 = 0.0005 USD a second; (150 + 50) / 2 s = 100 tokens a second; 5e-6 a token
    assert cost_per_1k_usd(facts, mix(150, 50, wall_s=2.0)) == pytest.approx(0.005)


def test_gpu_hours_win_over_prices() -> None:
    facts = Facts("a", "m", gpu_usd_per_hour=3.60, input_usd_per_token=1.0, output_usd_per_token=1.0)
    assert cost_per_1k_usd(facts, mix(500, 500)) == pytest.approx(0.001)  # 0.001 USD/s ÷ 1,000 tokens/s × 1,000


@pytest.mark.parametrize(
    "facts",
    [
        Facts("a", "m"),
        Facts("a", "m", input_usd_per_token=1e-6),
        Facts("a", "m", output_usd_per_token=1e-6),
    ],
)
def test_an_unknown_price_is_not_zero(facts: Facts) -> None:
    assert cost_per_1k_usd(facts, mix(300, 100)) is None


@pytest.mark.parametrize(
    "facts", [Facts("a", "m", gpu_usd_per_hour=1.0), Facts("a", "m", input_usd_per_token=0.1, output_usd_per_token=0.1)]
)
@pytest.mark.parametrize("stats", [mix(None, None), mix(5, None), mix(0, 0)])
def test_unknown_or_no_tokens_leave_the_cost_unknown(facts: Facts, stats: CellStats) -> None:
    assert cost_per_1k_usd(facts, stats) is None


def test_a_price_of_zero_is_a_price() -> None:
    assert cost_per_1k_usd(Facts("a", "m", input_usd_per_token=0.0, output_usd_per_token=0.0), mix(3, 1)) == 0.0
