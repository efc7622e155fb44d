"""USD per 1,000 tokens: from prices at the measured mix, from GPU hours at the measured throughput, else unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slo_bench.measure.stream import Sample
from slo_bench.summary.cost import break_even, cost_per_1k_usd
from slo_bench.summary.stats import CellStats, summarize
from slo_router.contract.model import Facts


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


def test_cached_prompt_tokens_have_a_price_of_their_own() -> None:
    facts = Facts("a", "m", input_usd_per_token=2e-6, output_usd_per_token=8e-6, cached_usd_per_token=5e-7)
    stats = summarize([Sample(0.1, 0.2, 800, 200, cached_tokens=600)], 1.0)
    # 200 × 2e-6 + 600 × 5e-7 + 200 × 8e-6 = 4e-4 + 3e-4 + 1.6e-3 = 2.3e-3 USD for 1,000 tokens
    assert cost_per_1k_usd(facts, stats) == pytest.approx(0.0023)
    assert cost_per_1k_usd(replace(facts, cached_usd_per_token=None), stats) == pytest.approx(0.0032)  # 800 × 2e-6


def test_an_idle_gpu_makes_each_token_dearer() -> None:
    facts = Facts("a", "m", gpu_usd_per_hour=1.80)
    assert cost_per_1k_usd(facts, mix(150, 50, wall_s=2.0), utilization=0.25) == pytest.approx(0.020)  # 0.005 ÷ 0.25
    priced = Facts("a", "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6)
    assert cost_per_1k_usd(priced, mix(150, 50), utilization=0.25) == pytest.approx(0.001)


GPU = Facts("gpu", "m", gpu_usd_per_hour=2.0)
API = Facts("api", "m", input_usd_per_token=1e-6, output_usd_per_token=4e-6)
ANSWERS = [Sample(0.1, 0.2, 600, 100)] * 20  # at API: 600 × 1e-6 + 100 × 4e-6 = 0.001 USD a request


@pytest.mark.parametrize(
    ("wall_s", "utilization", "capacity", "reachable"),
    [
        (20.0, 1.0, 3_600.0, True),  # 1 request a second
        (20.0, 0.5, 1_800.0, False),  # below the 2,000 that it takes
        (36.0, 1.0, 2_000.0, True),  # just as many
        (40.0, 1.0, 1_800.0, False),
    ],
)
def test_break_even_is_gpu_hours_over_the_price_of_a_request(
    wall_s: float, utilization: float, capacity: float, reachable: bool
) -> None:
    at = break_even(GPU, summarize(ANSWERS, wall_s), API, summarize(ANSWERS, 1.0), utilization)
    assert at is not None
    assert at.requests_per_hour == pytest.approx(2_000)  # 2.0 ÷ 0.001
    assert at.tokens_per_hour == pytest.approx(1_400_000)  # 2,000 × 700
    assert at.capacity_per_hour == pytest.approx(capacity)
    assert at.reachable is reachable


def test_a_free_provider_is_never_beaten_and_a_free_gpu_always() -> None:
    stats = summarize(ANSWERS, 20.0)
    free = Facts("api", "m", input_usd_per_token=0.0, output_usd_per_token=0.0)
    never = break_even(GPU, stats, free, stats)
    assert never is not None
    assert (never.requests_per_hour, never.tokens_per_hour, never.reachable) == (None, None, False)
    always = break_even(Facts("gpu", "m", gpu_usd_per_hour=0.0), stats, API, stats)
    assert always is not None
    assert (always.requests_per_hour, always.reachable) == (0.0, True)


@pytest.mark.parametrize(
    ("gpu", "priced", "gpu_stats", "priced_stats"),
    [
        (API, API, summarize(ANSWERS, 1.0), summarize(ANSWERS, 1.0)),
        (GPU, GPU, summarize(ANSWERS, 1.0), summarize(ANSWERS, 1.0)),
        (GPU, Facts("api", "m"), summarize(ANSWERS, 1.0), summarize(ANSWERS, 1.0)),
        (GPU, API, summarize([Sample(error="timeout")], 1.0), summarize(ANSWERS, 1.0)),
        (GPU, API, summarize(ANSWERS, 1.0), summarize([Sample(error="timeout")], 1.0)),
        (GPU, API, summarize(ANSWERS, 1.0), summarize([Sample(0.1, 0.2)], 1.0)),  # no usage
    ],
)
def test_without_one_of_each_kind_or_with_something_unknown_there_is_no_break_even(
    gpu: Facts, priced: Facts, gpu_stats: CellStats, priced_stats: CellStats
) -> None:
    assert break_even(gpu, gpu_stats, priced, priced_stats) is None
