"""The baseline is the dearest candidate that could have taken the request, priced with the request's real tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from deploy.grafana.panels import BOARDS
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from slo_router.contract.model import Assessment, Decision, Facts, Rejection, Slo
from slo_router.contract.record import RequestRecord, SloRecord
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.explain import as_json
from slo_router.operator.replay.counterfactual import Counterfactual
from slo_router.operator.replay.recorded import decode
from slo_router.operator.reporting.report import Evidence, make_report
from slo_router.operator.reporting.rows import Lines
from slo_router.operator.reporting.tally import Tallies
from slo_router.telemetry.baseline import BASELINE, baseline, cost_usd, spent_usd
from slo_router.telemetry.telemetry import Telemetry
from tests.shared.builders import NOTHING_KNOWN, REQUEST, assessed
from tests.shared.repository import ROOT

PRICED = Facts("priced", "m", input_usd_per_token=1e-6, output_usd_per_token=3e-6)
SELF_HOSTED = Facts("own", "m", input_usd_per_token=1e-6, output_usd_per_token=3e-6, gpu_usd_per_hour=1.0)


def candidate(name: str, cost_usd: float | None = None, cost_per_1k_usd: float | None = 0.04) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(cost_usd=cost_usd, cost_per_1k_usd=cost_per_1k_usd))


def decision(*candidates: Assessment, rejections: tuple[Rejection, ...] = ()) -> Decision:
    return Decision("met", candidates[0].deployment_id, REQUEST, Slo(), candidates, rejections, "p")


def record(cost_usd: float | None, **changed: object) -> RequestRecord:
    """A record of 1,000 prompt tokens and 500 answer tokens."""
    return RequestRecord.model_validate(
        {
            "ts": 1.0, "request_id": "r", "call_type": "acompletion", "model_group": "smart", "deployment": "x",
            "model": "m", "category": "ner", "key_hash": None, "key_alias": None, "team_id": None, "stream": False,
            "prompt_tokens": 1_000, "completion_tokens": 500, "ttft_ms": None, "tpot_ms": None, "e2e_ms": None,
            "cost_usd": cost_usd, "slo": SloRecord(), "slo_met": None, "outcome": "success", "attempts": 1,
            "decision": None, **changed,
        }
    )  # fmt: skip


def chosen_as_baseline(*candidates: Assessment, rejections: tuple[Rejection, ...] = ()) -> tuple[str, float | None]:
    """The baseline of a request of 1,500 tokens, at the candidates' USD per 1,000 tokens."""
    best, usd = baseline(decision(*candidates, rejections=rejections), record(None), {})
    return best.deployment_id, usd


def at(name: str, per_1k_usd: float | None) -> Assessment:
    return candidate(
        name, None if per_1k_usd is None else 9.0 - per_1k_usd, per_1k_usd
    )  # expected: the other way round


def test_the_dearest_candidate_is_the_baseline_by_the_tokens_that_the_request_really_had() -> None:
    assert chosen_as_baseline(at("a", 1.0), at("b", 3.0), at("c", 2.0)) == ("b", 4.5)


def test_without_tokens_it_is_the_one_that_was_expected_to_be_the_dearest() -> None:
    made = decision(candidate("a", 1.0), candidate("b", 3.0), candidate("c", 2.0))
    best, usd = baseline(made, record(0.1, prompt_tokens=None), {})
    assert (best.deployment_id, usd) == ("b", None)


def test_an_unknown_price_is_never_the_dearest() -> None:
    assert chosen_as_baseline(at("a", None), at("free", 0.0)) == ("free", 0.0)
    assert chosen_as_baseline(at("a", None), at("b", None)) == ("a", None)  # no cost is known: the pick


def test_one_that_could_not_have_taken_the_request_is_no_baseline() -> None:
    candidates = at("small", 1.0), at("large", 2.0)
    unable = Rejection("large", "context_window", 9_000, 8_000)
    unwanted = Rejection("large", "cost_ceiling", 2.0, 1.0)  # without a router it would have served the request
    assert chosen_as_baseline(*candidates, rejections=(unable,))[0] == "small"
    assert chosen_as_baseline(*candidates, rejections=(unwanted,))[0] == "large"


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
usd_per_token = st.none() | st.floats(1e-9, 1e-3)
prices = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(usd_per_token, usd_per_token, st.booleans(), st.none() | st.floats(0, 1)),
    min_size=1,
)
Priced = Mapping[str, tuple[float | None, float | None, bool, float | None]]


@given(
    prices,
    st.sampled_from(("success", "disconnected", "error", "cache_hit")),
    st.booleans(),
    st.none() | st.integers(0, 9_000),
    st.none() | st.floats(0, 1),
)
def test_metrics_and_report_say_the_same(
    priced: Priced, outcome: str, routed: bool, completion_tokens: int | None, booked_usd: float | None
) -> None:
    """Prices in and out, which may be unknown; who is self-hosted; what was expected per 1,000 tokens."""
    facts = {
        name: Facts(name, "m", None, None, one, other, gpu_usd_per_hour=1.0 if own else None)
        for name, (one, other, own, _) in priced.items()
    }
    made = decision(
        *[candidate(name, None if per_1k is None else 1 - per_1k, per_1k) for name, (*_, per_1k) in priced.items()]
    )
    cost = None if outcome == "error" else 0.0 if outcome == "cache_hit" else booked_usd
    kept = as_json(made) if routed else None
    changed = {"outcome": outcome, "deployment": made.deployment_id, "decision": kept}
    done = record(cost, completion_tokens=completion_tokens, **changed)
    registry = CollectorRegistry()
    Telemetry({"smart": GroupSettings()}, registry, 0.0).observe("smart", done, made if routed else None, facts)
    money = Counterfactual(facts.values()).account(decode(json.dumps(done.model_dump(mode="json"))))
    labels = {"group": "smart", "deployment": made.deployment_id}
    spent_usd = registry.get_sample_value("slo_router_cost_usd_total", labels)
    unrouted_usd = registry.get_sample_value("slo_router_baseline_cost_usd_total", {"group": "smart"})
    assert (spent_usd, unrouted_usd) == pytest.approx((money.spent_usd, money.baseline_usd))
    unpriced = registry.get_sample_value("slo_router_unpriced_total", labels) or 0.0
    assert unpriced == (money.spent_usd is None and outcome != "error")


def test_dashboards_metrics_report_and_page_name_one_baseline() -> None:
    panels = {panel.title: panel.description for board in BOARDS for row in board.rows.values() for panel in row}
    for title in ("Saved", "On the baseline", "Cost per request", "Spend and baseline"):
        assert any(
            BASELINE in panel.description
            for board in BOARDS
            for row in board.rows.values()
            for panel in row
            if panel.title == title
        ), title
    assert not [title for title, text in panels.items() if "dearest candidate" in text and BASELINE not in text]
    registry = CollectorRegistry()
    Telemetry({"smart": GroupSettings()}, registry, 0.0)
    helps = {family.name: family.documentation for family in registry.collect()}
    assert BASELINE in helps["slo_router_picks"]
    assert BASELINE in helps["slo_router_baseline_cost_usd"]
    assert make_report(Tallies(), Lines(0, 0, 0), None, [], Evidence()).baseline == BASELINE
    assert f"| baseline | {BASELINE}" in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
