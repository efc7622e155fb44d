"""Discounts and margins as LiteLLM adds them. `tests/gateway/test_billing.py` compares them with its calculator."""

from __future__ import annotations

from typing import Any

import pytest

from slo_router.contract.model import Facts, Tier
from slo_router.contract.prices import cost_usd
from slo_router.contract.settings.pricing.markups import markups_of

PLAIN = Facts("a", "openai/gpt-4o", None, None, 1e-6, 2e-6, 1e-7, tiers=(Tier(5_000, 2e-6, 4e-6, 2e-7),))


def marked(model: str = "openai/gpt-4o", facts: Facts = PLAIN, **settings: object) -> Facts:
    listed = {"litellm_provider": "openai"}
    return markups_of({"litellm_settings": settings}).applied(facts, {"model": model}, {}, listed)


@pytest.mark.parametrize(
    ("model", "discount"),
    [
        ("openai/gpt-4o", 0.4),  # by its name
        ("gpt-4o", 0.4),  # the price map knows its provider
        ("openai/gpt-4o-mini", 0.3),  # the longer pattern
        ("openai/gpt-5", 0.2),
        ("openai/o3", 0.1),  # the provider's
        ("anthropic/gpt-4o", 0.0),
    ],
)
def test_the_most_specific_discount_counts(model: str, discount: float) -> None:
    config = {"openai": 0.1, "openai/gpt-*": 0.2, "openai/gpt-4o-*": 0.3, "openai/gpt-4o": 0.4}
    assert cost_usd(marked(model, cost_discount_config=config), 1_000, 100) == pytest.approx(0.0012 * (1 - discount))


@pytest.mark.parametrize(
    ("margins", "usd"),
    [
        ({"openai": 0.1, "global": 0.5}, 0.00132),
        ({"global": 0.5}, 0.0018),
        ({"openai": {"percentage": 0.1, "fixed_amount": 0.01}}, 0.01132),
        ({"openai": {"fixed_amount": "0.01"}}, 0.0112),
        ({"openai": "much"}, 0.0012),
        ("much", 0.0012),
    ],
)
def test_the_providers_margin_counts_else_the_global_one(margins: object, usd: float) -> None:
    assert cost_usd(marked(cost_margin_config=margins), 1_000, 100) == pytest.approx(usd)


def test_every_price_is_marked_and_an_unknown_one_stays_unknown() -> None:
    added: dict[str, Any] = {"cost_margin_config": {"global": {"percentage": 1.0, "fixed_amount": 0.5}}}
    assert cost_usd(marked(**added), 10_000, 1_000, 1_000) == pytest.approx(
        0.5 + 2 * (9_000 * 2e-6 + 1_000 * 2e-7 + 0.004)
    )
    by_second = Facts("b", "openai/gpt-4o", usd_per_second=0.1)
    assert cost_usd(marked(facts=by_second, **added), 10, 10, seconds=3) == pytest.approx(0.5 + 0.6)
    assert cost_usd(marked(facts=Facts("c", "openai/gpt-4o"), **added), 10, 10) is None
    in_tier = marked(facts=Facts("d", "openai/gpt-4o", in_tiers={"flex": PLAIN}), **added).in_tiers["flex"]
    assert cost_usd(in_tier, 1_000, 100) == pytest.approx(0.5024)
