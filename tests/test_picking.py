"""The pick among assessed candidates: the objective among those that meet the SLO, the best quality where none does."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from slo_router.domain import Assessment, Standing
from slo_router.picking import pick
from tests.builders import NOTHING_KNOWN, assessed

MEETS, UNKNOWN, MISSES = Standing.MEETS, Standing.UNKNOWN, Standing.MISSES


def costing(name: str, cost_usd: float | None, headroom: float | None = 0.5, standing: Standing = MEETS) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(cost_usd=cost_usd), standing, headroom)


def missing(name: str, quality: float | None, headroom: float = -0.5, cost_usd: float | None = 1.0) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(quality=quality, cost_usd=cost_usd), MISSES, headroom)


def scoring(name: str, total: float, cost_usd: float = 1.0, headroom: float = 0.5) -> Assessment:
    return costing(name, cost_usd, headroom)._replace(scores={"total": total})


def picked(*candidates: Assessment, objective: str = "cheapest") -> str:
    rng = random.Random(0)
    picks = {pick(order, objective, rng).deployment_id for order in (candidates, candidates[::-1])}
    assert len(picks) == 1, "the order of the candidates decided"
    return picks.pop()


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([costing("dear", 0.3), costing("cheap", 0.1), costing("middle", 0.2)], "cheap"),
        ([costing("free", 0.0), costing("cheap", 0.1)], "free"),
        ([costing("unpriced", None), costing("dear", 99.0)], "dear"),  # an unknown cost ranks behind every known one
        ([costing("tight", 0.1, 0.1), costing("roomy", 0.1, 0.4)], "roomy"),  # equal cost: the larger headroom
        ([costing("tight", None, 0.1), costing("roomy", None, 0.4)], "roomy"),
        # cheaper, but it misses the SLO or may miss it
        ([costing("meets", 0.3), costing("unknown", 0.2, None, UNKNOWN), costing("misses", 0.1, -1, MISSES)], "meets"),
        ([costing("unknown", 0.2, None, UNKNOWN), costing("misses", 0.1, -1, MISSES)], "unknown"),
        ([costing("a", 0.2, None, UNKNOWN), costing("b", 0.1, None, UNKNOWN)], "b"),
        ([costing("only", None, None, MISSES)], "only"),
    ],
)
def test_cheapest_among_those_that_stand_best_to_the_slo(candidates: list[Assessment], expected: str) -> None:
    assert picked(*candidates) == expected


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([scoring("a", 0.4), scoring("b", 0.6)], "b"),
        ([scoring("a", 0.5, 0.2), scoring("b", 0.5, 0.1)], "b"),  # equal scores: the cheaper
        ([scoring("a", 0.5, 0.1, 0.1), scoring("b", 0.5, 0.1, 0.2)], "b"),  # then the roomier
        ([scoring("a", 0.4), scoring("b", 0.9)._replace(standing=MISSES)], "a"),
    ],
)
def test_the_highest_weighted_score_among_those_that_stand_best(candidates: list[Assessment], expected: str) -> None:
    assert picked(*candidates, objective="weighted") == expected


@pytest.mark.parametrize("objective", ["cheapest", "weighted"])
@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([missing("cheap", 0.6, -0.1, 0.1), missing("best", 0.9, -3.0, 9.0)], "best"),
        ([missing("far", 0.9, -3.0, 0.1), missing("near", 0.9, -0.5, 9.0)], "near"),  # the smallest deficit
        ([missing("dear", 0.9, -0.5, 0.2), missing("cheap", 0.9, -0.5, 0.1)], "cheap"),
        ([missing("unknown", None), missing("bad", 0.0)], "bad"),  # a known quality ranks before an unknown one
    ],
)  # fmt: skip
def test_fallback_is_the_highest_quality_where_all_are_known_to_miss(
    candidates: list[Assessment], expected: str, objective: str
) -> None:
    assert picked(*candidates, objective=objective) == expected


@pytest.mark.parametrize("objective", ["cheapest", "weighted"])
def test_equal_replicas_share_the_traffic(objective: str) -> None:
    rng = random.Random(1)
    replicas = [scoring("a", 0.5), scoring("b", 0.5), scoring("dear", 0.5, cost_usd=1.01)]
    counts = Counter(pick(replicas, objective, rng).deployment_id for _ in range(1_000))
    assert set(counts) == {"a", "b"}
    assert 430 <= counts["a"] <= 570  # 500 ± 4.4 standard deviations of 15.8
