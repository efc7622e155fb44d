"""What a deployment would do with a request: measured if possible, else pooled over categories, `None` if unknown."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import NormalDist

import pytest

from slo_router.contract.model import LEVELS, Facts, Metrics, Prediction, Slo, Snapshot
from slo_router.decision.known import pool
from slo_router.decision.prediction import cost_chance, outlook, predict
from slo_router.latency.curve import Curve
from slo_router.live.state import LiveState
from slo_router.quality.judging import Graded, judge
from slo_router.request.lengths import SPREAD, assumed
from slo_router.worker.snapshot import make_snapshot
from tests.shared.builders import NOTHING_KNOWN, NOW_S, REQUEST, measured, view

PRICED = Facts("a", "m", input_usd_per_token=1e-6, output_usd_per_token=4e-6, quality={"default": 0.6, "ner": 0.7})
SELF_HOSTED = Facts("a", "m", gpu_usd_per_hour=2.0)
LONGER = math.exp(SPREAD * (1.645 - SPREAD / 2))  # the p95 of a log-normal length, in means
_ANSWER = Prediction._fields.index("output_tokens")
ROW = Metrics(NOW_S - 30, ttft_s=0.1, tpot_s=0.01, cost_per_1k_usd=0.002, error_rate=0.05, samples=40)
GRADED = 20  # from this many graded answers on they count beside a typed number


def predicted(facts: Facts, row: Metrics | None = None, category: str = "ner") -> Prediction:
    """The prediction for 1,000 prompt and 500 answer tokens."""
    snapshot = Snapshot() if row is None else measured(a=row)
    judged = judge([facts], Graded(snapshot.measured), NOW_S)
    return predict(facts, REQUEST._replace(category=category), view(snapshot)._replace(judged=judged))


def test_the_p95_is_preferred_to_the_mean() -> None:
    both = predicted(PRICED, ROW._replace(ttft_p95_s=0.3, tpot_p95_s=0.02, ttft_p50_s=0.05))
    assert (both.ttft_s, both.tpot_s) == (0.3, 0.02)
    assert both.e2e_s == pytest.approx(0.3 + 0.02 * (500 * LONGER - 1), rel=0.05)  # 95 % of answers are shorter
    mean = predicted(PRICED, ROW)
    assert (mean.ttft_s, mean.tpot_s) == (0.1, 0.01)
    assert mean.e2e_s == pytest.approx(0.1 + 0.01 * (500 * LONGER - 1), rel=0.05)


def test_a_measured_zero_is_a_measurement() -> None:
    assert predicted(PRICED, ROW._replace(ttft_p95_s=0.0)).ttft_s == 0.0


def test_one_token_needs_no_time_after_the_first() -> None:
    request = REQUEST._replace(output_tokens=1, limit_tokens=1)
    assert predict(PRICED, request, view(measured(a=ROW))).e2e_s == pytest.approx(0.1)


def test_an_answer_takes_no_longer_than_the_clients_limit_lets_it_and_several_take_as_long_as_one() -> None:
    world = view(measured(a=ROW))
    limited = REQUEST._replace(limit_tokens=800)
    assert predict(PRICED, limited, world).e2e_s == pytest.approx(0.1 + 0.01 * 799)  # 95 % of 500 would be 1,420
    several = limited._replace(output_tokens=3 * 500, choices=3)
    assert predict(PRICED, several, world).e2e_s == pytest.approx(0.1 + 0.01 * 799)


@pytest.mark.parametrize("limit_tokens", [None, 200, 500, 5_000])
@pytest.mark.parametrize("limit_s", [0.05, 1.0, 4.0, 12.0, 60.0])
def test_the_chance_of_ending_in_time_is_that_of_a_latency_and_a_length(
    limit_s: float, limit_tokens: int | None
) -> None:
    """Compared with random draws: TTFT and TPOT scatter by 20 % around 0.1 and 0.01 s, both slow or both fast."""
    spread = tuple(math.exp(0.2 * NormalDist().inv_cdf(level)) for level in LEVELS)
    live = LiveState(curve=Curve(0.1, 0.0, 0.0, 0.01, 0.0, spread, spread, weight=100.0))
    request = REQUEST._replace(output_tokens=500, limit_tokens=limit_tokens)
    found = outlook(request, Slo(e2e_s=limit_s), live, assumed(500))
    rng, kept, draws = random.Random(1), 0, 20_000
    for _ in range(draws):
        slow, tokens = math.exp(0.2 * rng.gauss(0, 1)), 500 * math.exp(SPREAD * rng.gauss(-SPREAD / 2, 1))
        tokens = tokens if limit_tokens is None else min(tokens, limit_tokens)
        kept += slow * (0.1 + 0.01 * (tokens - 1)) <= limit_s
    assert found is not None
    assert found.probability == pytest.approx(kept / draws, abs=0.02)


def test_age_samples_and_error_rate_come_with_the_evidence() -> None:
    found = predicted(PRICED, ROW)
    assert (found.basis, found.age_s, found.samples, found.error_rate) == ("measured", 30.0, 40, 0.05)


def test_nothing_measured_is_none_and_never_zero() -> None:
    found = predicted(Facts("a", "m"))
    assert found[:_ANSWER] == NOTHING_KNOWN[:_ANSWER]  # the rest is how long its answer is assumed to be
    empty = predicted(Facts("a", "m"), Metrics(NOW_S))
    assert empty[:_ANSWER] == NOTHING_KNOWN._replace(basis="measured", age_s=0.0)[:_ANSWER]


def test_a_latency_known_by_half_gives_no_end_to_end_time() -> None:
    assert predicted(PRICED, ROW._replace(tpot_s=None)).e2e_s is None
    assert predicted(PRICED, ROW._replace(ttft_s=None)).e2e_s is None


# --- cost of 1,000 + 500 tokens


@pytest.mark.parametrize(
    ("facts", "row", "cost_usd", "cost_per_1k_usd"),
    [
        (PRICED, None, 0.003, 0.002),  # 1,000 × 1e-6 + 500 × 4e-6; ÷ 1.5
        (PRICED, ROW._replace(cost_per_1k_usd=9.0), 0.003, 0.002),  # a stated price beats a measured one
        (SELF_HOSTED, ROW, 0.003, 0.002),  # measured 0.002 per 1,000 × 1.5
        (SELF_HOSTED, ROW._replace(cost_per_1k_usd=0.0), 0.0, 0.0),
        (SELF_HOSTED, ROW._replace(cost_per_1k_usd=None), None, None),
        (SELF_HOSTED, None, None, None),
        # self-hosted and priced: the measured cost of the GPU counts; the price until that is measured
        (replace(PRICED, gpu_usd_per_hour=2.0), ROW._replace(cost_per_1k_usd=0.02), 0.03, 0.02),
        (replace(PRICED, gpu_usd_per_hour=2.0), None, 0.003, 0.002),
        (Facts("a", "m", input_usd_per_token=1e-6), None, None, None),  # half a price is no price
        (Facts("a", "m", input_usd_per_token=1e-6), ROW, 0.003, 0.002),
        (Facts("a", "m", input_usd_per_token=0.0, output_usd_per_token=0.0), None, 0.0, 0.0),
    ],
)
def test_cost_is_the_price_or_what_the_gpu_was_measured_to_cost(
    facts: Facts, row: Metrics | None, cost_usd: float | None, cost_per_1k_usd: float | None
) -> None:
    found = predicted(facts, row)
    assert found.cost_usd == pytest.approx(cost_usd)
    assert found.cost_per_1k_usd == pytest.approx(cost_per_1k_usd)


def test_a_request_without_tokens_has_no_cost_per_token() -> None:
    found = predict(PRICED, REQUEST._replace(prompt_tokens=0, output_tokens=0), view(Snapshot()))
    assert (found.cost_usd, found.cost_per_1k_usd, found.e2e_s) == (0.0, None, None)


# --- quality


@pytest.mark.parametrize(("category", "expected"), [("ner", 0.7), ("chat", 0.6)])  # 0.6 is the default
def test_a_typed_quality_is_its_own_bound(category: str, expected: float) -> None:
    for row in (None, ROW, ROW._replace(quality_score=0.9)):  # the number of answers is unknown
        found = predicted(PRICED, row, category)
        assert (found.quality, found.quality_bound, found.quality_answers, found.quality_at_s) == (
            expected, expected, {}, None,
        )  # fmt: skip


def test_graded_answers_have_a_mean_and_a_bound_below_it_and_say_what_they_are() -> None:
    graded = ROW._replace(quality_score=0.9, quality_n=GRADED, quality_at_s=NOW_S - 60)
    found = predicted(PRICED, graded)
    assert found.quality == pytest.approx(0.8, abs=1e-3)  # of 40 answers, 14 typed and 18 graded ones are good
    assert found.quality_bound == pytest.approx(0.716, abs=2e-3)  # the tenth percentile of Beta(32, 8)
    assert found.quality_answers == {"suite": pytest.approx(GRADED, rel=1e-3)}
    assert found.quality_at_s == NOW_S - 60
    elsewhere = predicted(PRICED, graded, "chat")  # says nothing of another task
    assert (elsewhere.quality, elsewhere.quality_bound) == (0.6, 0.6)


def test_a_score_without_its_number_of_answers_counts_as_typed_where_nobody_typed_one() -> None:
    found = predicted(Facts("a", "m"), ROW._replace(quality_score=0.9))
    assert (found.quality, found.quality_bound) == (0.9, 0.9)


def test_decisions_do_not_judge_graded_answers() -> None:
    """Judging takes longer than deciding. Until a background job has judged, the typed quality counts, or none."""
    graded = measured(a=ROW._replace(quality_score=0.9, quality_n=200))
    assert predict(PRICED, REQUEST, view(graded)).quality_bound == 0.7
    assert predict(Facts("a", "m"), REQUEST, view(graded)).quality_bound is None


def test_a_held_quality_is_unknown_whatever_was_measured_or_configured() -> None:
    held = ROW._replace(quality_score=0.9, quality_n=GRADED, quality_held=True)
    assert predicted(PRICED, held, "ner").quality is predicted(PRICED, held, "ner").quality_bound is None
    assert predicted(PRICED, held, "chat").quality is None  # no measured category is left that could be trusted
    both = pool([held, ROW])
    assert both is not None
    assert not both.quality_held


# --- categories that were not measured

NER = Metrics(NOW_S - 10, 0.1, 0.1, 0.2, 0.01, 0.02, 80.0, 0.001, 0.0, 0.9, 50, 100.0, 20)
CODE = Metrics(NOW_S - 99, 0.4, None, 0.3, None, 0.01, 60.0, 0.003, 0.1, 0.2, 50, 900.0, 10)


def test_an_unmeasured_category_is_predicted_from_the_worst_of_the_others_and_marked() -> None:
    snapshot = make_snapshot({"a": {"ner": NER, "code": CODE}}, NOW_S)
    found = predict(PRICED, REQUEST._replace(category="chat"), view(snapshot))
    assert found.basis == "pooled"
    assert (found.ttft_s, found.tpot_s, found.error_rate) == (0.3, 0.02, 0.1)
    assert (found.age_s, found.samples, found.quality) == (99.0, 30, 0.6)


def test_a_category_that_was_graded_and_never_timed_has_its_own_quality_and_the_latencies_of_the_others() -> None:
    graded = Metrics(NOW_S - 5, quality_score=0.8, quality_n=GRADED)
    for rows, basis, ttft_s in (({"ner": NER}, "pooled", 0.2), ({}, "measured", None)):
        snapshot = make_snapshot({"a": {**rows, "chat": graded}}, NOW_S)
        seen = view(snapshot)._replace(judged=judge([PRICED], Graded(snapshot.measured), NOW_S))
        found = predict(PRICED, REQUEST._replace(category="chat"), seen)
        assert (found.basis, found.ttft_s) == (basis, ttft_s)
        assert found.quality == pytest.approx(0.7, abs=0.06)  # between 0.6, typed, and 0.8
        assert found.quality_answers == {"suite": pytest.approx(GRADED, rel=1e-3)}


def test_pooling_keeps_what_only_one_category_knows_and_leaves_quality_out() -> None:
    worst = Metrics(NOW_S - 99, 0.4, 0.1, 0.3, 0.01, 0.02, 60.0, 0.003, 0.1, samples=30, error_at_s=NOW_S - 99)
    assert pool([NER, CODE]) == worst
    assert pool([Metrics(NOW_S)]) == Metrics(NOW_S)  # unknown stays unknown
    assert pool([]) is None


@pytest.mark.parametrize(
    ("input_usd", "output_usd"), [(1e-6, 4e-6), (4e-6, 1e-6), (1e-6, 1e-6), (3e-6, 3e-6), (3e-6, 5e-6)]
)
def test_the_chance_of_keeping_a_cost_limit_is_that_of_an_answer_of_such_a_length(
    input_usd: float, output_usd: float
) -> None:
    facts, limit_usd = replace(PRICED, input_usd_per_token=input_usd, output_usd_per_token=output_usd), 2e-6
    rng = random.Random(1)
    kept, prompt_tokens, draws = 0, REQUEST.prompt_tokens, 20_000
    for _ in range(draws):
        tokens = REQUEST.output_tokens * math.exp(SPREAD * rng.gauss(-SPREAD / 2, 1))
        kept += prompt_tokens * input_usd + tokens * output_usd <= limit_usd * (prompt_tokens + tokens)
    chance = cost_chance(facts, REQUEST, 1_000 * limit_usd, view(), assumed(500))
    assert chance == pytest.approx(kept / draws, abs=0.015)


def test_the_chance_of_keeping_a_cost_limit_knows_cached_tokens_and_a_price_per_request() -> None:
    """Both are parts of the bill that do not depend on the answer's length."""
    plain = replace(PRICED, input_usd_per_token=3e-6, output_usd_per_token=1e-6)
    cached, by_request = replace(plain, cached_usd_per_token=0.0), replace(plain, usd_per_request=1.0)
    limit_usd = 1_000 * 2e-6  # a prompt of 3 USD per million needs an answer as long, or to be read from the cache
    assert 0 < cost_chance(plain, REQUEST, limit_usd, view(), assumed(500)) < 1
    whole = cost_chance(cached, REQUEST, limit_usd, view(), assumed(500), cached_tokens=REQUEST.prompt_tokens)
    assert whole == 1
    assert cost_chance(by_request, REQUEST, limit_usd, view(), assumed(500)) == 0


def test_a_cost_that_depends_on_no_length_or_of_nothing_known_has_no_chance() -> None:
    hosted, priceless = replace(PRICED, gpu_usd_per_hour=1.0), replace(PRICED, output_usd_per_token=None)
    world = view(measured(a=ROW._replace(cost_per_1k_usd=0.01)))
    assert cost_chance(hosted, REQUEST, 1.0, world, assumed(500)) == 0
    assert cost_chance(priceless, REQUEST, 1.0, view(), assumed(500)) == 0
