"""Prices × tokens: flat, in tiers, per request and per second. A decision follows the tier."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Facts, Features, Slo, Tier
from slo_router.contract.prices import cost_usd, rates, tokens_usd
from slo_router.contract.settings.deployments import read_deployment
from slo_router.operator.replay.counterfactual import list_price
from slo_router.telemetry.baseline import cost_usd as baseline_usd
from tests.shared.builders import NOTHING_KNOWN, assessed, decided
from tests.shared.record_builders import record_of

GEMINI = {
    "gemini/gemini-2.5-pro": {
        "litellm_provider": "gemini",
        "input_cost_per_token": 1.25e-6,
        "output_cost_per_token": 1e-5,
        "input_cost_per_token_above_200k_tokens": 2.5e-6,
        "output_cost_per_token_above_200k_tokens": 1.5e-5,
        "input_cost_per_token_above_200k_tokens_priority": 4.5e-6,
        "max_input_tokens": 1_048_576,
    }
}
LONG = Features("chat", "client", prompt_tokens=250_000, output_tokens=2_000, reserved_tokens=2_000)
SHORT = LONG._replace(prompt_tokens=100_000)


def facts(name: str, **params: object) -> Facts:
    entry = {"model_name": "smart", "litellm_params": {"model": f"gemini/{name}", **params}, "model_info": {"id": name}}
    return read_deployment(entry, "model_list[0]", GEMINI).facts


TIERED = facts("gemini-2.5-pro")
FLAT = facts("flat", input_cost_per_token=1.875e-6, output_cost_per_token=1.5e-5)  # 1.5 times the base price


def test_above_the_tier_its_price_holds_for_all_tokens() -> None:
    assert TIERED.tiers == (Tier(200_000, 2.5e-6, 1.5e-5),)
    assert cost_usd(TIERED, 250_000, 2_000) == pytest.approx(0.625 + 0.03)
    assert cost_usd(TIERED, 200_000, 2_000) == pytest.approx(0.25 + 0.02)  # the tier begins above 200,000
    assert rates(TIERED, 200_001) == (2.5e-6, 1.5e-5, None)


def test_a_long_prompt_goes_to_the_flat_price_and_a_short_one_to_the_base_price() -> None:
    def chosen(features: Features, limit: float | None = None) -> tuple[str, str]:
        decision = decided([TIERED, FLAT], features=features, slo=Slo(cost_per_1k_usd=limit))
        return decision.deployment_id, decision.kind

    assert chosen(LONG) == ("flat", "met")  # $0.49875 against $0.655
    assert chosen(SHORT) == ("gemini-2.5-pro", "met")
    assert chosen(LONG, 0.0022) == ("flat", "met")  # $0.00198 per 1,000 tokens against $0.0026
    dear = decided([TIERED], features=LONG, cost_ceiling_per_1k_usd=0.0022)  # the base price would pass: $0.00132
    assert [rejection.filter for rejection in dear.rejections] == ["cost_ceiling"]


def test_the_accounts_use_the_same_price() -> None:
    served = record_of().model_copy(update={"prompt_tokens": 250_000, "completion_tokens": 2_000})
    assert baseline_usd(TIERED, assessed("x", NOTHING_KNOWN), served) == pytest.approx(0.655)
    assert list_price(TIERED) != list_price(FLAT)


def test_where_nothing_is_priced_the_expected_cost_counts() -> None:
    above_alone = facts(
        "own", input_cost_per_token_above_128k_tokens=2e-6, output_cost_per_token_above_128k_tokens=1e-5
    )
    assert tokens_usd(above_alone, 200_000, 1_000, 0.5) == pytest.approx(0.41)
    assert tokens_usd(above_alone, 1_000, 1_000, 0.5) == tokens_usd(None, 1_000, 1_000, 0.5) == 1.0
    assert tokens_usd(None, 1_000, 1_000, None) is None


def test_an_own_price_makes_the_listed_tiers_void() -> None:
    assert facts("gemini-2.5-pro", input_cost_per_token=1e-6).tiers == ()
    stated = facts("gemini-2.5-pro", input_cost_per_token=1e-6, input_cost_per_token_above_128k_tokens="2e-6")
    assert stated.tiers == (Tier(128_000, 2e-6, 1e-5),)


def test_ranges_are_tiers_and_their_first_is_the_base_price() -> None:
    ranges = [
        {"range": [0, 256_000.0], "input_cost_per_token": 5e-8, "output_cost_per_token": 4e-7},
        {"range": [256_000.0, 1_000_000.0], "input_cost_per_token": 2.5e-7, "output_cost_per_token": 2e-6},
    ]
    one = facts("qwen", tiered_pricing=ranges)
    assert (one.input_usd_per_token, one.tiers) == (5e-8, (Tier(256_000, 2.5e-7, 2e-6),))


def test_a_cached_token_is_cheaper_and_a_request_has_its_price() -> None:
    one = facts("own", input_cost_per_token=2e-6, output_cost_per_token=4e-6, cache_read_input_token_cost=5e-7)
    assert cost_usd(one, 1_000, 100, cached_tokens=400) == pytest.approx(0.0012 + 0.0002 + 0.0004)
    per_request = facts("own", input_cost_per_token=0, output_cost_per_token=0, input_cost_per_request=0.005)
    assert cost_usd(per_request, 1_000, 100) == 0.005


def test_a_price_per_second_counts_where_no_token_has_one_and_never_as_nothing() -> None:
    by_second = facts("own", input_cost_per_second=0.001)
    assert cost_usd(by_second, 1_000, 100, seconds=2.5) == 0.0025
    assert cost_usd(by_second, 1_000, 100) is None  # the time is unknown
    both = facts("own", input_cost_per_token=1e-6, output_cost_per_token=1e-6, output_cost_per_second=0.001)
    assert cost_usd(both, 1_000, 0, seconds=2.5) == pytest.approx(0.001)
    assert cost_usd(facts("own"), 1_000, 100, seconds=2.5) is None
    listed = facts("gemini-2.5-pro", output_cost_per_second=0.001)  # LiteLLM then books seconds, not the map's tokens
    assert (listed.input_usd_per_token, listed.tiers, listed.usd_per_second) == (None, (), 0.001)
