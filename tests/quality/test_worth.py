"""The worth of quality: the ladder of steps, and the place on it that a target names."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from slo_router.quality.worth import (
    LEAST_USD,
    MOST_USD,
    Option,
    Options,
    Step,
    best,
    for_request,
    picked,
    quality_at,
    steps,
    worth_for_quality,
    worth_for_spend,
)

SMALL, MEDIUM, LARGE = Option("small", 0.6, 0.001), Option("medium", 0.8, 0.002), Option("large", 0.9, 0.010)
LOTS = 500
POOR = Option("poor", 0.7, 0.009)  # worse than `medium`, and dearer


def ladder(requests: Sequence[Options]) -> list[Step]:
    return sorted(step for options in requests for step in steps(options))


def sums(requests: Sequence[Options], worth_usd: float) -> tuple[float, float]:
    found = [picked(options, worth_usd) for options in requests]
    return sum(one.quality for one in found), sum(one.cost_usd for one in found)


def world(seed: int, count: int = 60) -> list[Options]:
    rng = random.Random(seed)
    return [
        [Option(name, rng.random(), rng.random() ** 3) for name in "abcd" if rng.random() < 0.8 or name == "a"]
        for _ in range(count)
    ]


def test_it_pays_to_go_up_by_steps_of_rising_worth() -> None:
    first, second = steps([LARGE, POOR, SMALL, MEDIUM])
    assert first == pytest.approx((0.005, 0.2, 0.001))
    assert second == pytest.approx((0.08, 0.1, 0.008))


@pytest.mark.parametrize("seed", range(5))
def test_the_ladder_says_what_each_worth_picks(seed: int) -> None:
    requests = world(seed)
    for worth_usd in (0.0, 0.1, 0.5, 1.0, 5.0, MOST_USD):
        quality, cost_usd = sums(requests, 0.0)
        for step in ladder(requests):
            if step.worth_usd <= worth_usd:
                quality, cost_usd = quality + step.quality, cost_usd + step.cost_usd
        assert (quality, cost_usd) == pytest.approx(sums(requests, worth_usd))


def expected(requests: Sequence[Options], worth_usd: float) -> tuple[float, float]:
    """Quality and USD of all requests, over all lots."""
    found = [sums(requests, for_request(worth_usd, (lot + 0.5) / LOTS)) for lot in range(LOTS)]
    quality, cost_usd = (sum(one) / LOTS for one in zip(*found, strict=True))
    return quality, cost_usd


@pytest.mark.parametrize("requests", [*map(world, range(5)), [[SMALL, MEDIUM, LARGE]] * 10])
@pytest.mark.parametrize("share", [0.7, 0.95, 1.0, 1.2])
def test_a_share_of_the_best_models_quality_is_just_kept(requests: list[Options], share: float) -> None:
    wanted = share * sum(quality_at(options, best(requests)) for options in requests)
    worth_usd = worth_for_quality(requests, ladder(requests), share)
    found = expected(requests, worth_usd)[0]
    if worth_usd == MOST_USD:
        assert found < wanted
    elif worth_usd == LEAST_USD:
        assert found >= wanted
    else:
        assert found == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("requests", [*map(world, range(5)), [[SMALL, MEDIUM, LARGE]] * 10])
@pytest.mark.parametrize("usd_each", [0.0005, 0.006, 0.05, 0.1, 0.9])
def test_what_each_request_may_cost_is_just_spent(requests: list[Options], usd_each: float) -> None:
    worth_usd = worth_for_spend(requests, ladder(requests), usd_each)
    found = expected(requests, worth_usd)[1]
    if worth_usd == MOST_USD:
        assert found <= usd_each * len(requests)
    elif worth_usd == LEAST_USD:
        assert found >= usd_each * len(requests)
    else:
        assert found == pytest.approx(usd_each * len(requests), rel=1e-2)


def test_a_small_change_of_costs_moves_a_small_part() -> None:
    """If all requests are alike and 82 % take a step, a 2 % higher price for it makes a tenth of them stay behind."""
    requests: list[Options] = [[Option("small", 0.85, 0.001), Option("large", 0.9, 0.01)]] * 10
    worth_usd = worth_for_quality(requests, ladder(requests), 0.99)
    dearer: list[Options] = [[Option("small", 0.85, 0.001), Option("large", 0.9, 0.01018)]] * 10
    taken = [(expected(one, worth_usd)[0] / 10 - 0.85) / 0.05 for one in (requests, dearer)]
    assert taken == pytest.approx([0.82, 0.72], abs=0.01)


def test_what_cannot_be_reached_is_the_best_or_the_cheapest() -> None:
    requests: list[Options] = [[SMALL, MEDIUM]]
    assert worth_for_quality(requests, ladder(requests), 1.3) == MOST_USD
    assert worth_for_quality(requests, ladder(requests), 0.5) == LEAST_USD
    assert worth_for_spend(requests, ladder(requests), 0.0001) == LEAST_USD
    assert worth_for_spend(requests, ladder(requests), 1.0) == MOST_USD


def test_the_best_model_is_none_that_hardly_any_request_can_use() -> None:
    requests: list[Options] = [*[[SMALL, MEDIUM]] * 9, [SMALL, LARGE]]
    assert best(requests) == "medium"
    assert quality_at([SMALL, LARGE], "medium") == 0.9  # `medium` could not serve this request
