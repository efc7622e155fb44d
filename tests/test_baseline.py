"""The baseline is the dearest candidate that could have taken the request, priced with the request's real tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from slo_router.baseline import baseline, cost_usd, spent_usd
from slo_router.config import GroupSettings
from slo_router.contract import RequestRecord, SloRecord
from slo_router.domain import Assessment, Decision, Facts, Rejection, Slo
from slo_router.explain import as_json
from slo_router.reporting.counterfactual import Counterfactual
from slo_router.reporting.recorded import decode
from slo_router.telemetry import Telemetry
from tests.builders import NOTHING_KNOWN, REQUEST, assessed

PRICED = Facts("priced", "m", input_usd_per_token=1e-6, output_usd_per_token=3e-6)
SELF_HOSTED = Facts("own", "m", input_usd_per_token=1e-6, output_usd_per_token=3e-6, gpu_usd_per_hour=1.0)


def candidate(name: str, cost_usd: float | None = None, cost_per_1k_usd: float | None = 0.04) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(cost_usd=cost_usd, cost_per_1k_usd=cost_per_1k_usd))


def decision(*candidates: Assessment, rejections: tuple[Rejection, ...] = ()) -> Decision:
    return Decision("met", candidates[0].deployment_id, REQUEST, Slo(), candidates, rejections, "p")


def record(cost_usd: float | None, **changed: object) -> RequestRecord:
    """1,000 prompt tokens and 500 of the answer."""
    return RequestRecord.model_validate(
        {
            "ts": 1.0, "request_id": "r", "call_type": "acompletion", "model_group": "smart", "deployment": "x",
            "model": "m", "category": "ner", "key_hash": None, "key_alias": None, "team_id": None, "stream": False,
            "prompt_tokens": 1_000, "completion_tokens": 500, "ttft_ms": None, "tpot_ms": None, "e2e_ms": None,
            "cost_usd": cost_usd, "slo": SloRecord(), "slo_met": None, "outcome": "success", "attempts": 1,
            "decision": None, **changed,
        }
    )  # fmt: skip


def test_the_dearest_candidate_is_the_baseline() -> None:
    assert baseline(decision(candidate("a", 1.0), candidate("b", 3.0), candidate("c", 2.0))).deployment_id == "b"


def test_an_unknown_price_is_never_the_dearest() -> None:
    assert baseline(decision(candidate("a", None), candidate("free", 0.0))).deployment_id == "free"


def test_one_that_could_not_have_taken_the_request_is_no_baseline() -> None:
    candidates = candidate("small", 1.0), candidate("large", 2.0)
    unable = Rejection("large", "context_window", 9_000, 8_000)
    unwanted = Rejection("large", "cost_ceiling", 2.0, 1.0)  # without a router it would have served all the same
    assert baseline(decision(*candidates, rejections=(unable,))).deployment_id == "small"
    assert baseline(decision(*candidates, rejections=(unwanted,))).deployment_id == "large"


def test_tokens_cost_the_prices_per_token_and_self_hosted_what_was_measured() -> None:
    # 1,000 × 1e-6 + 500 × 3e-6 = 0.0025; 1,500 tokens × 0.04 USD per 1,000 = 0.06
    assert cost_usd(PRICED, candidate("x"), record(None)) == 0.0025
    assert cost_usd(SELF_HOSTED, candidate("x"), record(None)) == 0.06
    assert cost_usd(SELF_HOSTED, candidate("x", cost_per_1k_usd=None), record(None)) is None
    assert cost_usd(PRICED, candidate("x"), record(None, completion_tokens=None)) is None


def test_a_request_cost_what_litellm_booked_unless_it_was_self_hosted() -> None:
    assert spent_usd(record(0.002), PRICED, candidate("x")) == 0.002
    assert spent_usd(record(0.002), None, None) == 0.002  # LiteLLM chose
    assert spent_usd(record(0.0), SELF_HOSTED, candidate("x")) == 0.06
    assert spent_usd(record(None, outcome="error"), SELF_HOSTED, candidate("x")) is None
    assert spent_usd(record(0.0, outcome="cache_hit"), SELF_HOSTED, candidate("x")) == 0.0


NAMES = ("a", "b", "c")
prices = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.floats(1e-9, 1e-3), st.booleans()), min_size=1)


@given(prices, st.sampled_from(("success", "disconnected", "error", "cache_hit")), st.booleans())
def test_metrics_and_report_say_the_same(priced: Mapping[str, tuple[float, bool]], outcome: str, routed: bool) -> None:
    """USD per token, alike in and out, so that no answer's length decides who is dearest; and who is self-hosted."""
    facts = {
        name: Facts(name, "m", input_usd_per_token=usd, output_usd_per_token=usd, gpu_usd_per_hour=1.0 if own else None)
        for name, (usd, own) in priced.items()
    }
    made = decision(*[candidate(name, usd * 1_500, usd * 1_000) for name, (usd, _) in priced.items()])
    cost = None if outcome == "error" else 0.0 if outcome == "cache_hit" else priced[made.deployment_id][0] * 1_500
    done = record(cost, outcome=outcome, deployment=made.deployment_id, decision=as_json(made) if routed else None)
    registry = CollectorRegistry()
    Telemetry({"smart": GroupSettings()}, registry, 0.0).observe("smart", done, made if routed else None, facts)
    money = Counterfactual(facts.values()).account(decode(json.dumps(done.model_dump(mode="json"))))
    labels = {"group": "smart", "deployment": made.deployment_id}
    spent_usd = registry.get_sample_value("slo_router_cost_usd_total", labels)
    unrouted_usd = registry.get_sample_value("slo_router_baseline_cost_usd_total", {"group": "smart"})
    assert (spent_usd, unrouted_usd) == pytest.approx((money.spent_usd, money.baseline_usd))
