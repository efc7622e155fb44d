"""What the baseline would have cost: the same tokens at its price. Without a choice nothing is saved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_fields

from slo_router.contract.model import Facts, Metrics, Slo, Tier
from slo_router.errors import SettingsError
from slo_router.operator.replay.counterfactual import Counterfactual, Money, Price, list_price
from slo_router.operator.replay.recorded import Recorded, decode
from tests.shared.builders import NOW_S, decided, measured
from tests.shared.record_builders import LARGE, SMALL, decide_between, read_back, shadow_line_of

# 300 prompt and 100 completion tokens: SMALL 300 · 1e-6 + 100 · 2e-6 = 0.0005, LARGE ten times that.
HUGE = Facts("huge", "openai/huge", 1_000, None, 100e-6, 200e-6, quality={"default": 0.99})
GPU = Facts("gpu", "openai/gpu", None, None, 1e-6, 1e-6, gpu_usd_per_hour=2.0, quality={"default": 0.9})


def account(*facts: Facts, baseline: str | None = None, record: Recorded | None = None) -> Money:
    return Counterfactual(facts or (SMALL, LARGE), baseline).account(record or read_back())


def test_the_dearest_candidates_price_times_the_tokens() -> None:
    assert account() == pytest.approx((0.0005, 0.005, 0.7, 0.9, True))


def test_what_was_spent_is_what_litellm_billed() -> None:
    assert account(record=read_back(cost_usd=0.0004)).spent_usd == 0.0004  # cached prompt tokens may be cheaper
    assert account(record=read_back(cost_usd=None)).spent_usd == pytest.approx(0.0005)  # not billed: its price


def test_a_named_baseline_counts_for_every_request() -> None:
    assert account(baseline="large") == pytest.approx((0.0005, 0.005, 0.7, 0.9, True))
    assert account(SMALL, LARGE, HUGE, baseline="huge") == pytest.approx((0.0005, 0.05, 0.7, 0.99, True))
    assert account(baseline="small") == pytest.approx((0.0005, 0.0005, 0.7, 0.7, True))


def test_a_baseline_that_is_no_deployment_is_named() -> None:
    with pytest.raises(SettingsError, match="baseline: 'medium', expected a deployment id: small, large"):
        Counterfactual([SMALL, LARGE], "medium")


def test_served_by_the_baseline_costs_what_it_cost() -> None:
    decision = decide_between(slo=Slo(min_quality=0.8))
    served = read_back(decision, cost_usd=0.0049)  # not 0.005: part of the prompt was cached
    assert Counterfactual([SMALL, LARGE]).account(served) == (0.0049, 0.0049, 0.9, 0.9, True)


def test_who_could_not_have_answered_is_no_baseline() -> None:
    """HUGE is dearest, but 1,000 prompt tokens and 500 more don't fit into its window."""
    decision = decide_between(SMALL, LARGE, HUGE)
    money = Counterfactual([SMALL, LARGE, HUGE]).account(read_back(decision))
    assert money.baseline_usd == pytest.approx(0.005)


def test_a_cheap_candidate_that_was_only_ruled_out_for_quality_may_be_the_baseline() -> None:
    dear = replace(SMALL, deployment_id="dear", input_usd_per_token=50e-6, output_usd_per_token=50e-6)
    decision = decide_between(SMALL, LARGE, replace(dear, quality={"default": 0.1}), slo=Slo(min_quality=0.5))
    money = Counterfactual([SMALL, LARGE, dear]).account(read_back(decision))
    assert money.baseline_usd == pytest.approx(0.02)  # 400 · 50e-6


def test_a_cache_hit_and_litellms_own_choice_save_nothing() -> None:
    hit = account(record=read_back(outcome="cache_hit", cost_usd=0.0))
    assert (hit.spent_usd, hit.baseline_usd) == (0.0, 0.0)
    not_ours = account(record=replace_fields(read_back(cost_usd=0.002), decision=None))
    assert (not_ours.spent_usd, not_ours.baseline_usd) == (0.002, 0.002)
    in_shadow = account(record=decode(shadow_line_of(cost_usd=0.002)))
    assert (in_shadow.spent_usd, in_shadow.baseline_usd) == (0.002, 0.002)


@pytest.mark.parametrize(
    "record", [read_back(outcome="error"), read_back(prompt_tokens=None, cost_usd=None), read_back(deployment=None)]
)
def test_without_an_answer_or_tokens_and_cost_there_is_no_account(record: Recorded) -> None:
    assert account(record=record) == (None, None, None, None, True)


def test_what_was_booked_without_tokens_is_spent_and_saves_nothing() -> None:
    """LiteLLM loses the usage of some streams, but not their cost."""
    assert account(record=read_back(prompt_tokens=None)) == (0.0005, 0.0005, None, None, True)


def test_who_has_no_price_has_no_account_and_is_no_baseline() -> None:
    unpriced = replace(SMALL, deployment_id="unpriced", input_usd_per_token=None)
    decision = decide_between(unpriced, SMALL)
    assert account(unpriced, SMALL, record=read_back(decision, deployment="unpriced", cost_usd=None))[:2] == (
        None,
        None,
    )
    assert account(unpriced, SMALL, record=read_back(decision, deployment="small"))[:2] == (0.0005, 0.0005)
    assert account(unpriced, SMALL, baseline="unpriced", record=read_back(decision))[:2] == (0.0005, None)


def test_self_hosted_costs_what_it_was_measured_to_cost_and_that_is_an_estimate() -> None:
    """LiteLLM bills it at 1e-6 a token, 0.0004 here; its GPU hours came to 0.01 USD per 1,000 tokens: 0.004."""
    snapshot = measured(gpu=Metrics(NOW_S, 0.1, cost_per_1k_usd=0.01))
    decision = decided([GPU, LARGE], snapshot=snapshot)  # 1,500 expected tokens: 0.015 against 0.02
    assert decision.deployment_id == "gpu"
    money = Counterfactual([GPU, LARGE]).account(read_back(decision, cost_usd=0.0004))
    assert money == pytest.approx((0.004, 0.005, 0.9, 0.9, False))


def test_a_deployment_that_left_the_yaml_is_estimated_by_its_record() -> None:
    """LARGE: (1,000 · 10e-6 + 500 · 20e-6) USD for 1,500 tokens are 0.01333 per 1,000; 400 tokens: 0.005333."""
    money = Counterfactual([SMALL]).account(read_back())
    assert money == pytest.approx((0.0005, 0.0053333, 0.7, 0.9, False), rel=1e-4)


def test_a_list_price_needs_both_prices_and_no_gpu() -> None:
    assert list_price(SMALL) == Price(1e-6, 2e-6)
    assert list_price(GPU) is None
    assert list_price(replace(SMALL, output_usd_per_token=None)) is None


def test_a_price_that_begins_above_a_tier_is_exact_where_it_holds() -> None:
    tiered = replace(LARGE, input_usd_per_token=None, output_usd_per_token=None, tiers=(Tier(200_000, 20e-6, 40e-6),))
    decision = decide_between(SMALL, tiered)
    above = read_back(decision, prompt_tokens=250_000, deployment="small", cost_usd=0.25)
    assert account(SMALL, tiered, baseline="large", record=above)[1:] == pytest.approx((5.004, 0.7, 0.9, True))
    assert list_price(tiered) is not None
