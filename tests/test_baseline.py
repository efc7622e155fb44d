"""The baseline is the best candidate that could have taken the request, priced with the request's real tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slo_router.baseline import baseline, baseline_usd, cost_usd, spent_usd
from slo_router.contract import RequestRecord, SloRecord
from slo_router.domain import Assessment, Decision, Facts, Rejection, Slo
from tests.builders import NOTHING_KNOWN, REQUEST, assessed

PRICED = Facts("priced", "m", input_usd_per_token=1e-6, output_usd_per_token=3e-6)
UNPRICED = Facts("unpriced", "m", gpu_usd_per_hour=1.0)


def candidate(name: str, quality: float | None = None, cost_usd: float | None = None) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(quality=quality, cost_usd=cost_usd, cost_per_1k_usd=0.04))


def decision(*candidates: Assessment, rejections: tuple[Rejection, ...] = ()) -> Decision:
    return Decision("met", candidates[0].deployment_id, REQUEST, Slo(), candidates, rejections, "p")


def record(cost_usd: float | None) -> RequestRecord:
    """1,000 prompt tokens and 500 of the answer."""
    return RequestRecord(
        ts=1.0, request_id="r", call_type="acompletion", model_group="smart", deployment="x", model="m", category="ner",
        key_hash=None, key_alias=None, team_id=None, stream=False, prompt_tokens=1_000, completion_tokens=500,
        ttft_ms=None, tpot_ms=None, e2e_ms=None, cost_usd=cost_usd, slo=SloRecord(), slo_met=None, outcome="success",
        attempts=1, decision=None,
    )  # fmt: skip


def test_the_highest_quality_is_the_baseline_however_cheap() -> None:
    best = baseline(decision(candidate("dear", 0.7, 9.0), candidate("good", 0.9, 1.0), candidate("weak", 0.5, 2.0)))
    assert best.deployment_id == "good"


def test_among_equals_and_where_no_quality_is_known_the_dearest_is() -> None:
    assert baseline(decision(candidate("a", 0.9, 1.0), candidate("b", 0.9, 2.0))).deployment_id == "b"
    assert baseline(decision(candidate("a", None, 3.0), candidate("b", None, 2.0))).deployment_id == "a"
    assert baseline(decision(candidate("a"), candidate("b", None, 0.0))).deployment_id == "b"


def test_one_that_could_not_have_taken_the_request_is_no_baseline() -> None:
    candidates = candidate("small", 0.5, 1.0), candidate("large", 0.9, 2.0)
    unable = Rejection("large", "context_window", 9_000, 8_000)
    unwanted = Rejection("large", "cost_ceiling", 2.0, 1.0)  # without a router it would have served all the same
    assert baseline(decision(*candidates, rejections=(unable,))).deployment_id == "small"
    assert baseline(decision(*candidates, rejections=(unwanted,))).deployment_id == "large"


def test_tokens_cost_the_prices_per_token_and_without_them_what_was_measured() -> None:
    # 1,000 × 1e-6 + 500 × 3e-6 = 0.0025; 1,500 tokens × 0.04 USD per 1,000 = 0.06
    assert cost_usd(PRICED, 0.04, 1_000, 500) == 0.0025
    assert cost_usd(UNPRICED, 0.04, 1_000, 500) == 0.06
    assert cost_usd(UNPRICED, None, 1_000, 500) is None
    assert baseline_usd(candidate("x"), PRICED, record(None)) == 0.0025


def test_a_request_cost_what_litellm_booked_unless_it_had_no_price_to_book() -> None:
    chosen = candidate("x")  # 0.04 USD per 1,000 tokens
    assert spent_usd(record(0.002), PRICED, chosen) == 0.002
    assert spent_usd(record(0.0), UNPRICED, chosen) == 0.06  # LiteLLM books 0 where it knows no price
    assert spent_usd(record(None), UNPRICED, chosen) is None  # failed
    assert spent_usd(record(0.002), None, None) == 0.002  # LiteLLM chose


qualities = st.one_of(st.none(), st.floats(0, 1))
prices = st.one_of(st.none(), st.floats(0, 10))


@given(st.lists(st.tuples(qualities, prices), min_size=1, max_size=8))
def test_no_candidate_beats_the_baseline(drawn: list[tuple[float | None, float | None]]) -> None:
    candidates = [candidate(str(i), quality, usd) for i, (quality, usd) in enumerate(drawn)]
    best = baseline(decision(*candidates))

    def rank(one: Assessment) -> tuple[float, float]:
        quality, usd = one.prediction.quality, one.prediction.cost_usd
        return -1.0 if quality is None else quality, -1.0 if usd is None else usd

    assert rank(best) == max(map(rank, candidates))
