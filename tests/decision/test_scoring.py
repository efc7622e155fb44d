"""Headroom against the SLO, worked out by hand; and the weighted objective on one scale, where a raw sum is wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.metrics_hash import MAX_VALUE
from slo_router.contract.model import Assessment, Facts, Metrics, Prediction, Slo, Standing
from slo_router.contract.settings.group import GroupSettings, Weights
from slo_router.decision.scoring import assess, limits_of, weigh
from tests.shared.builders import NOTHING_KNOWN, assessed, decided, measured

PREDICTION = NOTHING_KNOWN._replace(ttft_s=0.1, tpot_s=0.02, e2e_s=4.0, cost_usd=0.003, cost_per_1k_usd=0.002)


def held(prediction: Prediction, slo: Slo) -> Assessment:
    return assess("a", prediction, limits_of(slo))


@pytest.mark.parametrize(
    ("slo", "headroom", "missed"),
    [
        (Slo(ttft_s=0.125), 0.2, ()),  # (0.125 − 0.1) / 0.125
        (Slo(ttft_s=0.1), 0.0, ()),  # exactly at the limit still meets it
        (Slo(ttft_s=0.05), -1.0, ("ttft_ms",)),  # twice the limit
        (Slo(tpot_s=0.025), 0.2, ()),
        (Slo(e2e_s=3.2), -0.25, ("e2e_ms",)),
        (Slo(cost_per_1k_usd=0.004), 0.5, ()),  # the cost per 1,000 tokens, not the request's
        (Slo(ttft_s=0.125, e2e_s=8.0), 0.2, ()),  # the tightest of 0.2 and 0.5
        (Slo(ttft_s=0.08, cost_per_1k_usd=0.001), -1.0, ("ttft_ms", "cost_per_1k")),  # −0.25 and −1
        (Slo(min_quality=0.9), None, ()),  # quality is a filter
        (Slo(), None, ()),
    ],
)
def test_headroom_is_the_tightest_share_of_a_limit_that_is_left(
    slo: Slo, headroom: float | None, missed: tuple[str, ...]
) -> None:
    found = held(PREDICTION, slo)
    assert found.headroom == pytest.approx(headroom)
    assert found.missed == missed
    assert found.standing is (Standing.MISSES if missed else Standing.MEETS)


def test_a_field_without_a_measurement_leaves_the_slo_unknown() -> None:
    half = held(PREDICTION._replace(tpot_s=None), Slo(ttft_s=0.125, tpot_s=0.05))
    assert (half.standing, half.unknown) == (Standing.UNKNOWN, ("tpot_ms",))
    assert half.headroom == pytest.approx(0.2)  # of the field that could be judged
    none = held(NOTHING_KNOWN, Slo(0.1, 0.1, 0.1, 0.1))
    assert (none.standing, none.headroom) == (Standing.UNKNOWN, None)
    assert none.unknown == ("ttft_ms", "tpot_ms", "e2e_ms", "cost_per_1k")


def test_a_known_miss_outweighs_an_unknown_field() -> None:
    assert held(PREDICTION._replace(tpot_s=None), Slo(ttft_s=0.05, tpot_s=0.05)).standing is Standing.MISSES


def test_a_cost_limit_of_zero_is_met_by_what_is_free_alone() -> None:
    free = held(PREDICTION._replace(cost_per_1k_usd=0.0), Slo(cost_per_1k_usd=0.0))
    assert (free.standing, free.headroom) == (Standing.MEETS, 0.0)
    assert held(PREDICTION, Slo(cost_per_1k_usd=0.0)).missed == ("cost_per_1k",)


@given(st.floats(0, MAX_VALUE), st.floats(0, 1e4))
def test_no_limit_however_small_makes_headroom_infinite(value: float, limit: float) -> None:
    headroom = held(NOTHING_KNOWN._replace(ttft_s=value), Slo(ttft_s=limit)).headroom
    assert headroom is not None
    assert math.isfinite(headroom)


# --- the weighted objective


def weighed(*predictions: Prediction, weights: Weights | None = None) -> list[dict[str, float]]:
    rows = weigh([assessed(str(i), p) for i, p in enumerate(predictions)], weights or Weights())
    return [dict(row.scores or {}) for row in rows]


def known(quality: float | None, cost_usd: float | None, e2e_s: float | None) -> Prediction:
    return NOTHING_KNOWN._replace(quality=quality, cost_usd=cost_usd, ttft_s=e2e_s, e2e_s=e2e_s)


def test_each_term_runs_from_the_worst_candidate_to_the_best() -> None:
    best, middle, worst = weighed(known(0.9, 1.0, 2.0), known(0.8, 2.0, 5.0), known(0.4, 5.0, 10.0))
    assert best == {"quality": 1.0, "cost": 1.0, "latency": 1.0, "total": 1.0}
    # quality (0.8 − 0.4) / 0.5 = 0.8; cost (5 − 2) / 4 = 0.75; latency (10 − 5) / 8 = 0.625
    # total 0.5 × 0.8 + 0.3 × 0.75 + 0.2 × 0.625 = 0.4 + 0.225 + 0.125 = 0.75
    assert middle == pytest.approx({"quality": 0.8, "cost": 0.75, "latency": 0.625, "total": 0.75})
    assert worst == {"quality": 0.0, "cost": 0.0, "latency": 0.0, "total": 0.0}


def test_only_the_ratios_of_the_weights_matter() -> None:
    pair = (known(0.9, 2.0, 2.0), known(0.5, 1.0, 4.0))
    assert weighed(*pair, weights=Weights(quality=50, cost=30, latency=20)) == weighed(*pair)
    costly, cheap = weighed(*pair, weights=Weights(quality=0, cost=1, latency=0))
    assert (costly["total"], cheap["total"]) == (0.0, 1.0)


def test_a_term_in_which_all_are_equal_decides_nothing_and_one_without_data_scores_zero() -> None:
    a, b = weighed(known(0.7, None, 1.0), known(0.7, 1.0, None))
    assert (a["quality"], b["quality"]) == (1.0, 1.0)
    assert (a["cost"], b["cost"]) == (0.0, 1.0)
    assert (a["latency"], b["latency"]) == (1.0, 0.0)


def test_a_time_to_first_token_is_never_compared_with_a_whole_answer() -> None:
    """If one candidate's E2E is unknown, its TTFT of 0.5 s is not "faster" than another candidate's E2E of 4 s."""
    whole = known(0.7, 1.0, 4.0)._replace(ttft_s=0.2)
    for ttft_s, latency in ((0.5, 0.0), (0.1, 1.0)):  # both by their first token
        first, second = weighed(whole, known(0.7, 1.0, None)._replace(ttft_s=ttft_s))
        assert (first["latency"], second["latency"]) == (1.0 - latency, latency)


def test_the_articles_raw_sum_picks_a_terrible_cheap_model_and_normalised_scores_do_not() -> None:
    """The article: quality × w + (1 / cost) × w − latency × w, each in its own unit."""
    # 1,000 + 500 tokens at $1e-9 and $1e-6 per token: $1.5e-6 and $1.5e-3; E2E 9 s and 1 s (100 ms + 499 × TPOT)
    tiny = Facts("tiny", "m", input_usd_per_token=1e-9, output_usd_per_token=1e-9, quality={"default": 0.05})
    good = Facts("good", "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6, quality={"default": 0.9})
    snapshot = measured(tiny=Metrics(0.0, 0.1, tpot_s=8.9 / 499), good=Metrics(0.0, 0.1, tpot_s=0.9 / 499))
    weights = Weights(quality=0.5, cost=0.3, latency=0.2)

    def raw(quality: float, cost_usd: float, latency_s: float) -> float:
        return weights.quality * quality + weights.cost * (1 / cost_usd) - weights.latency * latency_s

    # tiny: 0.5 × 0.05 + 0.3 / 1.5e-6 − 0.2 × 9 = 0.025 + 200,000 − 1.8 = 199,998.225
    # good: 0.5 × 0.9  + 0.3 / 1.5e-3 − 0.2 × 1 = 0.45  + 200     − 0.2 = 200.25
    # Even a perfect, instant model at that price gets 0.5 + 200: no quality in 0..1 can answer 200,000.
    assert raw(0.05, 1.5e-6, 9.0) == pytest.approx(199_998.225)
    assert raw(0.9, 1.5e-3, 1.0) == pytest.approx(200.25)

    decision = decided([tiny, good], snapshot=snapshot, group=GroupSettings(objective="weighted", weights=weights))
    totals = {a.deployment_id: (a.scores or {})["total"] for a in decision.assessments}
    # tiny is best in cost alone: 0.3; good in quality and latency: 0.5 + 0.2
    assert totals == pytest.approx({"tiny": 0.3, "good": 0.7})
    assert decision.deployment_id == "good"


maybe = st.none() | st.floats(0, MAX_VALUE)
predictions = st.builds(
    lambda quality, cost_usd, ttft_s, e2e_s: known(quality, cost_usd, e2e_s)._replace(ttft_s=ttft_s),
    *(st.none() | st.floats(0, 1), maybe, maybe, maybe),
)


@given(st.lists(predictions, min_size=1, max_size=6), st.floats(0, 1e3), st.floats(0.001, 1e3))
def test_scores_lie_in_0_to_1_whatever_was_measured(rows: list[Prediction], quality: float, other: float) -> None:
    for scores in weighed(*rows, weights=Weights(quality=quality, cost=other, latency=other)):
        assert all(0 <= score <= 1 + 1e-9 for score in scores.values())
