"""If no candidate passes every filter, the softest filters give way first. A cost ceiling gives way to the cheapest."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from slo_router.contract.model import Facts, Metrics, Slo
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.foresight import Ask
from slo_router.decision.prediction import View
from tests.shared.builders import NOW_S, REQUEST, measured

# 1,000 prompt and 500 output tokens: 1,000 × price + 500 × 2 × price over 1.5 thousand tokens = 1,333 × price per 1k
CHEAP = Facts("cheap", "m", quality={"default": 0.5}, input_usd_per_token=1e-7, output_usd_per_token=2e-7)  # 0.000133
MIDDLE = Facts("middle", "m", quality={"default": 0.7}, input_usd_per_token=1e-6, output_usd_per_token=2e-6)  # 0.00133
DEAR = Facts("dear", "m", quality={"default": 0.9}, input_usd_per_token=1e-5, output_usd_per_token=2e-5)  # 0.0133
SLOW = Metrics(measured_at_s=NOW_S, ttft_s=1.0, tpot_s=0.01)
IMPOSSIBLE = Slo(ttft_s=0.001)


def picked(slo: Slo, ceiling: float | None, *candidates: Facts) -> str:
    snapshot = measured(**{facts.deployment_id: SLOW for facts in candidates})
    view = View(snapshot, NOW_S, random.Random(0))
    ask = Ask(REQUEST, slo, frozenset(), ceiling)
    return decide(ask, candidates, view, Policy(GroupSettings(), "cafe0123")).deployment_id


def test_without_a_ceiling_an_impossible_slo_falls_back_to_the_best() -> None:
    assert picked(IMPOSSIBLE, None, CHEAP, MIDDLE, DEAR) == "dear"


def test_an_impossible_slo_does_not_lift_a_key_above_its_cost_ceiling() -> None:
    assert picked(IMPOSSIBLE, 0.002, CHEAP, MIDDLE, DEAR) == "middle"  # the best of those that may be used


def test_above_the_ceiling_everywhere_the_cheapest_is_nearest() -> None:
    assert picked(IMPOSSIBLE, 0.0001, CHEAP, MIDDLE, DEAR) == "cheap"


def test_above_the_ceiling_everywhere_the_cheapest_answers_however_poor_it_is() -> None:
    assert picked(Slo(min_quality=0.9), 0.0001, CHEAP, MIDDLE, DEAR) == "cheap"


def test_a_quality_floor_does_not_lift_a_key_above_its_cost_ceiling() -> None:
    assert picked(Slo(min_quality=0.9), 0.002, CHEAP, MIDDLE, DEAR) == "middle"


def test_an_unknown_price_is_above_any_ceiling() -> None:
    unpriced = Facts("unpriced", "m", quality={"default": 1.0})

    assert picked(IMPOSSIBLE, 0.002, unpriced, CHEAP) == "cheap"


@pytest.mark.parametrize("asks", [{"reserved_tokens": 10**6, "limit_tokens": 10**6}, {"prompt_tokens": 10**6}])
def test_no_request_gets_past_the_ceiling_by_asking_for_more_than_cheap_ones_hold(asks: dict[str, Any]) -> None:
    cheap = replace(CHEAP, context_tokens=8_000)
    roomy = replace(CHEAP, deployment_id="roomy", context_tokens=9_000, max_output_tokens=4_000)
    dear = replace(DEAR, context_tokens=10**7, max_output_tokens=10**7)
    unpriced = Facts("unpriced", "m", quality={"default": 1.0})
    view = View(measured(), NOW_S, random.Random(0))
    ask = Ask(REQUEST._replace(**asks), Slo(), frozenset(), 0.002)
    picked = decide(ask, [dear, unpriced, cheap, roomy], view, Policy(GroupSettings(), "cafe0123")).deployment_id
    assert picked in ("cheap", "roomy")


def test_where_no_answer_may_be_so_long_the_longest_is_nearest() -> None:
    short = replace(CHEAP, max_output_tokens=4_096)
    long = replace(DEAR, max_output_tokens=64_000)
    view = View(measured(), NOW_S, random.Random(0))
    ask = Ask(REQUEST._replace(limit_tokens=100_000), Slo())
    assert decide(ask, [short, long], view, Policy(GroupSettings(), "cafe0123")).deployment_id == "dear"
