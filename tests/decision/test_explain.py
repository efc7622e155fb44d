"""A decision in headers, words and JSON: one object holds everything, and no name in the YAML can break an answer."""

from __future__ import annotations

import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Decision, Facts, Metrics, Slo
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.explain import as_json, headers, reason, slo_record, span_attributes, summary
from tests.shared.builders import NOTHING_KNOWN, NOW_S, REQUEST, assessed, decided, measured

SMALL = Facts("small", "m", None, None, 1e-6, 1e-6, quality={"default": 0.5})
LARGE = Facts("large", "m", None, None, 4e-6, 4e-6, quality={"default": 0.9})
SPEEDS = measured(small=Metrics(NOW_S - 30, 0.3, samples=40), large=Metrics(NOW_S - 5, 0.1))
WEIGHTED = GroupSettings(objective="weighted")


@pytest.mark.parametrize(
    ("decision", "line"),
    [
        (decided([SMALL, LARGE], snapshot=SPEEDS), "cheapest of 2 that meet the SLO"),
        (decided([SMALL, LARGE], snapshot=SPEEDS, slo=Slo(0.2)), "cheapest of 1 that meet the SLO"),
        # small meets the TTFT, but the floor keeps it out of the count
        (decided([SMALL, LARGE], snapshot=SPEEDS, slo=Slo(0.4, min_quality=0.6)), "cheapest of 1 that meet the SLO"),
        # small: cost 1 × 0.3; large: quality 1 × 0.5 + latency 1 × 0.2
        (decided([SMALL, LARGE], snapshot=SPEEDS, group=WEIGHTED), "highest score 0.70 of 2 that meet the SLO"),
        (decided([SMALL, LARGE], slo=Slo(0.2)), "cheapest; no measurement of ttft_ms"),
        (decided([Facts("a", "m")]), "price unknown, first of 1 that meet the SLO"),
        (
            decided([SMALL, LARGE], snapshot=SPEEDS, slo=Slo(0.05)),
            "no candidate meets ttft_ms; best quality of 2; +50 ms on ttft_ms would",
        ),
        (decided([SMALL], slo=Slo(min_quality=0.8)), "no candidate passes quality; this one is nearest"),
        (decided([SMALL])._replace(deployment_id="another"), "LiteLLM's own choice"),
    ],
)
def test_the_reason_says_in_one_line_why_this_deployment(decision: Decision, line: str) -> None:
    assert reason(decision) == line


def test_headers_are_the_contracts() -> None:
    decision = decided([SMALL, LARGE], snapshot=SPEEDS, slo=Slo(0.2))
    assert headers(decision, ("ttft_ms", "min_quality")) == {
        "x-slo-selected-model": "large",
        "x-slo-decision": "met",
        "x-slo-category": "ner",
        "x-slo-reason": "cheapest of 1 that meet the SLO",
        "x-slo-predicted-ttft-ms": "100.0",
        "x-slo-predicted-cost-usd": "0.006",  # 1,500 tokens × 4e-6
        "x-slo-clamped": "ttft_ms,min_quality",
    }


def test_what_is_not_known_has_no_header() -> None:
    assert set(headers(decided([Facts("a", "m")]))) == {
        *("x-slo-selected-model", "x-slo-decision", "x-slo-category", "x-slo-reason")
    }


@pytest.mark.parametrize(
    ("cost_usd", "text"),
    [(0.0, "0"), (10.0, "10"), (0.0000015, "0.0000015"), (1e-9, "0.000000001"), (0.1 + 0.2, "0.3")],
)
def test_a_cost_is_written_without_exponent_or_noise(cost_usd: float, text: str) -> None:
    chosen = assessed("a", NOTHING_KNOWN._replace(cost_usd=cost_usd))
    decision = decided([Facts("a", "m")])._replace(assessments=(chosen,))
    assert headers(decision)["x-slo-predicted-cost-usd"] == text


@given(st.text(min_size=1, max_size=300), st.text(max_size=9))
def test_headers_can_be_sent_whatever_the_deployment_is_called(name: str, category: str) -> None:
    decision = decided([Facts(name, "m")], features=REQUEST._replace(category=category))
    sent = headers(decision)
    for value in sent.values():
        assert all(" " <= character <= "~" for character in value)
        assert len(value) <= 200
    h11.Response(status_code=200, headers=list(sent.items()))  # what uvicorn writes; it raises for an illegal value


def test_a_line_break_in_a_name_adds_no_header() -> None:
    sent = headers(decided([Facts("a\r\nset-cookie: x", "m")]))
    assert sent["x-slo-selected-model"] == "a??set-cookie: x"


def test_json_is_complete_and_plain() -> None:
    slo = Slo(ttft_s=0.2, e2e_s=9.0, min_quality=0.6)
    decision = decided([SMALL, LARGE], snapshot=SPEEDS, slo=slo, features=REQUEST._replace(needs=frozenset({"tools"})))
    assert json.loads(json.dumps(as_json(decision))) == as_json(decision)
    assert as_json(decision) == {
        "policy": "cafe0123",
        "kind": "fallback",
        "deployment": "large",
        "reason": "cheapest; no measurement of e2e_ms",
        "category": "ner",
        "category_source": "client",
        "estimated_prompt_tokens": 1_000,
        "expected_output_tokens": 500,
        "cost_interval_usd": pytest.approx([0.0043052, 0.0095662], rel=1e-4),
        "cached_tokens": 0,
        "cached_at": "",
        "reserved_tokens": 500,
        "limit_tokens": None,
        "choices": 1,
        "needs": ["tools"],
        "probability": None,
        "ttft_p50_ms": None,
        "ttft_p95_ms": None,
        "worth_usd": None,
        "quality_confidence": 0.9,
        "relaxation": {},  # no E2E is known
        "candidates": [
            {
                "deployment": "large",
                "standing": "unknown",
                "headroom": 0.5,  # (0.2 − 0.1) / 0.2
                "probability": None,
                "missed": [],
                "unknown": ["e2e_ms"],
                "scores": None,
                "cached_tokens": 0,
                "leaving_usd": None,
                "predicted": {
                    "ttft_ms": 100.0,
                    "tpot_ms": None,
                    "e2e_ms": None,
                    "cost_usd": 0.006,
                    "cost_per_1k": 0.004,
                    "quality": 0.9,
                    "quality_bound": 0.9,
                    "quality_answers": {},
                    "quality_at_s": None,
                    "error_rate": None,
                    "basis": "measured",
                    "age_s": 5.0,
                    "samples": None,
                    "in_flight": 0.0,
                    "output_tokens": 500.0,
                    "longest_tokens": pytest.approx(1_045.0, rel=1e-3),
                    "answer_tokens": 500.0,
                    "hidden_tokens": 0.0,
                },
            },
            {
                "deployment": "small",
                "standing": "misses",
                "headroom": pytest.approx(-0.5),  # (0.2 − 0.3) / 0.2
                "probability": None,
                "missed": ["ttft_ms"],
                "unknown": ["e2e_ms"],
                "scores": None,
                "cached_tokens": 0,
                "leaving_usd": None,
                "predicted": {
                    "ttft_ms": 300.0,
                    "tpot_ms": None,
                    "e2e_ms": None,
                    "cost_usd": 0.0015,
                    "cost_per_1k": 0.001,
                    "quality": 0.5,
                    "quality_bound": 0.5,
                    "quality_answers": {},
                    "quality_at_s": None,
                    "error_rate": None,
                    "basis": "measured",
                    "age_s": 30.0,
                    "samples": 40,
                    "in_flight": 0.0,
                    "output_tokens": 500.0,
                    "longest_tokens": pytest.approx(1_045.0, rel=1e-3),
                    "answer_tokens": 500.0,
                    "hidden_tokens": 0.0,
                },
            },
        ],
        "rejections": [{"deployment": "small", "filter": "quality", "value": 0.5, "limit": 0.6}],
    }


def test_the_summary_is_flat_and_says_what_was_chosen_why_and_what_was_ruled_out() -> None:
    weak, good = Facts("weak", "m", quality={"default": 0.2}), Facts("good", "m", quality={"default": 0.9})
    decision = decided(
        [weak, good], slo=Slo(ttft_s=0.2, min_quality=0.5), snapshot=measured(good=Metrics(NOW_S, ttft_s=0.1))
    )
    said = summary(decision)
    assert all(value is None or isinstance(value, str | int | float) for value in said.values())
    assert (said["deployment"], said["rejections"], said["reason"]) == ("good", "weak: quality", reason(decision))
    assert said["predicted_ttft_ms"] == pytest.approx(100)


def test_a_spans_attributes_are_the_summary_without_what_is_unknown() -> None:
    decision = decided([SMALL, LARGE])
    attributes = span_attributes(decision, shadow=True)
    said = {f"slo_router.{name}": value for name, value in summary(decision).items() if value is not None}
    assert attributes.pop("slo_router.decision") == said.pop("slo_router.kind")
    assert attributes.pop("slo_router.shadow") is True
    assert attributes == said
    assert "slo_router.predicted_ttft_ms" not in attributes  # nothing was measured


def test_scores_of_the_weighted_objective_are_in_the_json() -> None:
    decision = decided([SMALL, LARGE], snapshot=SPEEDS, group=WEIGHTED)
    scores = {a.deployment_id: a.scores for a in decision.assessments}
    assert '"scores": {"quality": 1.0, "cost": 0.0, "latency": 1.0, "total": 0.7}' in json.dumps(as_json(decision))
    assert scores["small"] == {"quality": 0.0, "cost": 1.0, "latency": 0.0, "total": 0.3}


def test_an_slo_is_recorded_in_the_contracts_units() -> None:
    record = slo_record(Slo(0.25, None, 2.0, 0.01, 0.7)).model_dump()
    assert record == {"ttft_ms": 250.0, "tpot_ms": None, "e2e_ms": 2000.0, "cost_per_1k": 0.01, "min_quality": 0.7}
