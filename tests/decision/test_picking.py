"""The pick among assessed candidates: by the objective among those that meet the SLO; if none does, by best quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import pytest

from slo_router.contract.model import Assessment, Standing
from slo_router.contract.settings.group import GroupSettings, Target
from slo_router.decision.picking import pick
from slo_router.decision.scoring import score
from slo_router.latency.curve import Curve
from slo_router.live.state import LiveState
from tests.shared.builders import NOTHING_KNOWN, NOW_S, assessed, view

Objective = Literal["cheapest", "weighted"]
MEETS, UNKNOWN, MISSES = Standing.MEETS, Standing.UNKNOWN, Standing.MISSES


def costing(name: str, cost_usd: float | None, headroom: float | None = 0.5, standing: Standing = MEETS) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(cost_usd=cost_usd), standing, headroom)


def missing(name: str, quality: float | None, headroom: float = -0.5, cost_usd: float | None = 1.0) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(quality=quality, cost_usd=cost_usd), MISSES, headroom)


def scoring(name: str, total: float, cost_usd: float = 1.0, headroom: float = 0.5) -> Assessment:
    return costing(name, cost_usd, headroom)._replace(scores={"total": total})


def picked(*candidates: Assessment, objective: Objective = "cheapest") -> str:
    world = view()
    picks = {
        pick(order, GroupSettings(objective=objective, tie_band=0.0, trial_share=0.0), world).deployment_id
        for order in (candidates, candidates[::-1])
    }
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
    candidates: list[Assessment], expected: str, objective: Objective
) -> None:
    assert picked(*candidates, objective=objective) == expected


@pytest.mark.parametrize("objective", ["cheapest", "weighted"])
def test_equal_replicas_share_the_traffic(objective: Objective) -> None:
    world = view(seed=1)
    group = GroupSettings(objective=objective, tie_band=0.0, trial_share=0.0)
    replicas = [scoring("a", 0.5), scoring("b", 0.5), scoring("dear", 0.5, cost_usd=1.01)]
    counts = Counter(pick(replicas, group, world).deployment_id for _ in range(1_000))
    assert set(counts) == {"a", "b"}
    assert 430 <= counts["a"] <= 570  # 500 ± 4.4 standard deviations of 15.8


def finishing(name: str, cost_usd: float, e2e_s: float | None) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(cost_usd=cost_usd, e2e_s=e2e_s))


def counted(
    candidates: list[Assessment], tie_band: float = 0.0, trial_share: float = 0.0, live: Mapping[str, LiveState] = {}
) -> Counter[str]:
    world = view(live=live, seed=2)
    group = GroupSettings(tie_band=tie_band, trial_share=trial_share)
    picks = (pick(candidates, group, world) for _ in range(2_000))
    return Counter(chosen.deployment_id for chosen in picks)


def test_costs_within_the_tie_band_count_as_equal_and_the_earlier_finish_answers() -> None:
    near = [finishing("cheap", 1.0, 2.0), finishing("near", 1.05, 1.0), finishing("dear", 1.06, 0.1)]
    assert counted(near) == {"cheap": 2_000}
    assert counted(near, tie_band=0.05) == {"near": 2_000}


def test_of_many_equal_ones_the_better_of_two_answers_so_that_no_one_gets_a_whole_burst() -> None:
    # of 4 the best is drawn in 1/2 of the pairs; the second best wins 1/3 of the pairs, the third 1/6
    counts = counted([finishing(name, 1.0, e2e_s) for e2e_s, name in enumerate("abcd", start=1)])
    assert counts["a"] == pytest.approx(1_000, rel=0.1)
    assert counts["b"] == pytest.approx(667, rel=0.1)
    assert counts["c"] == pytest.approx(333, rel=0.2)
    assert counts["d"] == 0


def test_an_unmeasured_deployment_that_would_be_cheaper_gets_its_trial_share_and_no_more() -> None:
    known, new = finishing("known", 1.0, 1.0), costing("new", 0.5, None, UNKNOWN)._replace(unknown=("ttft_ms",))
    counts = counted([known, new], trial_share=0.05)
    assert counts["new"] == pytest.approx(100, rel=0.3)
    assert counted([known, new], trial_share=0.0)["new"] == 0
    busy = new._replace(prediction=new.prediction._replace(in_flight=1.0))
    assert counted([known, busy], trial_share=1.0)["new"] == 0  # one at a time
    dearer = new._replace(prediction=new.prediction._replace(cost_usd=2.0))
    assert counted([known, dearer], trial_share=1.0)["new"] == 0
    unpriced = new._replace(unknown=("ttft_ms", "cost_per_1k"))
    assert counted([known, unpriced], trial_share=1.0)["new"] == 0  # trying it would never tell


def test_where_all_miss_the_likeliest_to_keep_the_slo_answers_and_among_equals_the_best() -> None:
    best, likely = missing("best", 0.9), missing("likely", 0.6)
    assert picked(best._replace(probability=0.2), likely._replace(probability=0.7)) == "likely"
    assert picked(best._replace(probability=0.01), likely._replace(probability=0.02)) == "best"  # equal in steps of 5 %


def test_a_cheaper_deployment_that_gets_faster_is_tried_again_before_it_meets_the_slo() -> None:
    known = finishing("known", 1.0, 1.0)
    seen = NOTHING_KNOWN._replace(cost_usd=0.5, basis="live", age_s=1.0)
    slow = assessed("slow", seen, MISSES, -1.0)._replace(missed=("ttft_ms",))
    flat = Curve(0.1, 0.0, 0.0, 0.01, 0.0, (), (), 10.0, NOW_S)
    for ttft_level, tpot_level, tried in ((1.0, 1.0, False), (0.5, 1.0, True), (1.0, 0.5, True), (2.0, 1.0, False)):
        curve = flat._replace(ttft_level=ttft_level, tpot_level=tpot_level)
        counts = counted([known, slow], trial_share=0.05, live={"slow": LiveState(curve=curve)})
        assert (counts["slow"] > 0) == tried, (ttft_level, tpot_level)


def test_a_cheaper_deployment_that_was_slow_when_last_seen_is_tried_again_and_one_seen_a_moment_ago_is_not() -> None:
    known = finishing("known", 1.0, 1.0)
    live = NOTHING_KNOWN._replace(cost_usd=0.5, basis="live", age_s=6.0)
    slow = assessed("slow", live, MISSES, -1.0)._replace(missed=("ttft_ms",))
    assert counted([known, slow], trial_share=0.05)["slow"] == pytest.approx(100, rel=0.3)
    for never in (
        slow._replace(prediction=live._replace(age_s=4.0)),
        slow._replace(prediction=live._replace(in_flight=1.0)),
        slow._replace(prediction=live._replace(basis="measured")),
        slow._replace(missed=("ttft_ms", "cost_per_1k")),
    ):
        assert counted([known, never], trial_share=1.0)["slow"] == 0


def test_where_the_operator_gave_weights_they_share_the_traffic_among_equals_in_cost() -> None:
    candidates = [*(costing(name, 0.1) for name in ("a", "b", "c")), costing("dear", 0.2)]
    world, weights = view(), {"a": 7.0, "c": 2.0, "dear": 90.0}
    group = GroupSettings(trial_share=0.0)
    picks = Counter(pick(candidates, group, world, weights=weights).deployment_id for _ in range(2_000))
    assert picks.keys() == {"a", "b", "c"}
    assert picks["a"] == pytest.approx(1_400, rel=0.1)
    assert picks["b"] == pytest.approx(200, rel=0.25)


def valued(deployment_id: str, quality: float | None, cost_usd: float | None) -> Assessment:
    return assessed(deployment_id, NOTHING_KNOWN._replace(quality=quality, cost_usd=cost_usd), MEETS, None)


@pytest.mark.parametrize(
    ("worth_usd", "picked"), [(0.0, "small"), (0.004, "small"), (0.006, "medium"), (0.07, "medium"), (0.09, "large")]
)
def test_quality_is_taken_where_it_is_worth_its_price(worth_usd: float, picked: str) -> None:
    """One unit of quality costs 0.005 USD from `small` to `medium`, and 0.08 USD from `medium` to `large`."""
    group = GroupSettings(objective="value", target=Target(quality_of_best=0.95), tie_band=0.0, trial_share=0.0)
    pool = [valued("small", 0.6, 0.001), valued("medium", 0.8, 0.002), valued("large", 0.9, 0.010)]
    unknown = [valued("unpriced", 0.99, None), valued("ungraded", None, 0.0001)]
    assert pick(score([*unknown, *pool], group, worth_usd), group, view()).deployment_id == picked


def test_where_no_quality_is_known_the_cheapest_is_taken() -> None:
    group = GroupSettings(objective="value", target=Target(quality_of_best=0.95), tie_band=0.0, trial_share=0.0)
    pool = [valued("dear", None, 0.010), valued("cheap", None, 0.001)]
    assert pick(score(pool, group, 0.01), group, view()).deployment_id == "cheap"


def test_replicas_of_equal_value_share_the_traffic() -> None:
    group = GroupSettings(objective="value", target=Target(quality_of_best=0.95), trial_share=0.0)
    pool = score([valued("a", 0.8, 0.002), valued("b", 0.8, 0.00201), valued("poor", 0.5, 0.001)], group, 0.01)
    world = view(seed=1)
    assert {pick(pool, group, world).deployment_id for _ in range(100)} == {"a", "b"}
