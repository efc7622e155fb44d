"""Each candidate's line says why it was not chosen and by how much, and a record is decided again as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slo_router.contract.model import Decision, Facts, Features, Metrics, Slo
from slo_router.contract.settings.group import GroupSettings, Weights
from slo_router.decision.decide import Policy, decide
from slo_router.decision.foresight import Ask
from slo_router.operator.replay.explanation import Explanation, explain, explain_live
from slo_router.request.conversations import Cached
from tests.shared.builders import NOW_S, REQUEST, decided, measured, view
from tests.shared.record_builders import LARGE, SMALL, decide_between, read_back


def verdicts(decision: Decision) -> dict[str, str]:
    return {line.deployment: line.verdict for line in explain_live(decision).candidates}


def test_the_chosen_one_stands_first_and_the_dearer_one_says_by_how_much() -> None:
    """1,000 prompt and 500 output tokens cost 0.002 and 0.02 USD."""
    made = explain_live(decide_between(LARGE, SMALL))
    assert [(line.deployment, line.is_chosen) for line in made.candidates] == [("small", True), ("large", False)]
    assert verdicts(decide_between()) == {"small": "chosen", "large": "dearer by $0.018, 10.0 times as much"}
    assert (made.deployment, made.kind, made.category, made.prompt_tokens, made.output_tokens) == (
        "small",
        "met",
        "ner",
        1_000,
        500,
    )


@pytest.mark.parametrize(
    ("facts", "slo", "features", "tried", "verdict"),
    [
        (SMALL, Slo(min_quality=0.8), REQUEST, "", "ruled out: quality 0.7 is below 0.8 by 0.1"),
        (replace(SMALL, quality={}), Slo(min_quality=0.8), REQUEST, "", "ruled out: quality unknown, 0.8 is asked for"),
        # 1,000 · 1.1, and the length that one answer in ten exceeds
        (
            replace(SMALL, context_tokens=1_200),
            Slo(),
            REQUEST,
            "",
            "ruled out: context window 2145 is above 1200 by 945",
        ),
        (
            replace(SMALL, unsupported=frozenset({"tools"})),
            Slo(),
            REQUEST._replace(needs=frozenset({"tools"})),
            "",
            "ruled out: cannot do tools",
        ),
        (SMALL, Slo(), REQUEST, "small", "ruled out: failed this request already"),
        (SMALL, Slo(ttft_s=0.06), REQUEST, "", "misses ttft_ms by 40 ms (100 ms against 60 ms)"),
        (SMALL, Slo(tpot_s=0.008), REQUEST, "", "misses tpot_ms by 2.0 ms (10.0 ms against 8.0 ms)"),
    ],
)
def test_a_candidate_that_could_not_be_chosen(
    facts: Facts, slo: Slo, features: Features, tried: str, verdict: str
) -> None:
    fast = measured(small=Metrics(NOW_S, 0.1, tpot_s=0.01), large=Metrics(NOW_S, 0.05, tpot_s=0.005))
    decision = decided([facts, LARGE], slo=slo, features=features, tried=frozenset({tried}), snapshot=fast)
    assert verdicts(decision) == {"large": "chosen", "small": verdict}


def test_several_reasons_are_all_told() -> None:
    decision = decide_between(replace(SMALL, context_tokens=1_200), LARGE, slo=Slo(min_quality=0.8))
    assert verdicts(decision)["small"] == (
        "ruled out: context window 2145 is above 1200 by 945; quality 0.7 is below 0.8 by 0.1"
    )


def test_a_dearer_cost_ceiling_and_an_unmeasured_latency() -> None:
    """LARGE: 0.02 USD for 1,500 tokens are 0.01333 per 1,000."""
    decision = decided([SMALL, LARGE], cost_ceiling_per_1k_usd=0.01)
    assert verdicts(decision)["large"] == "ruled out: cost ceiling 0.0133333 is above 0.01 by 0.00333"
    unknown = decided([SMALL, LARGE], slo=Slo(ttft_s=0.1))
    assert verdicts(unknown)["large"] == "nothing is known of its ttft_ms; dearer by $0.018, 10.0 times as much"


def test_where_none_keeps_the_slo_the_quality_decides_and_what_would_do_is_told() -> None:
    made = explain_live(decide_between(slo=Slo(ttft_s=0.05)))
    assert (made.deployment, made.kind) == ("large", "fallback")
    verdict = made.candidates[1].verdict
    assert verdict == "misses ttft_ms by 50 ms (100 ms against 50 ms); quality 0.7, the chosen 0.9"
    assert made.would_do == {"ttft_ms": pytest.approx(50)}


def test_scores_are_compared() -> None:
    """Quality alone: the best of two scores 1, the other 0."""
    weighted = GroupSettings(objective="weighted", weights=Weights(quality=1, cost=0, latency=0), trial_share=0.0)
    assert verdicts(decide_between(group=weighted))["small"] == "scores 0.000, the chosen 1.000"


def test_a_cheaper_one_within_the_tie_band_is_told() -> None:
    near = replace(SMALL, deployment_id="near", input_usd_per_token=1.02e-6, output_usd_per_token=2.04e-6)
    decision = decided([SMALL, near], snapshot=measured(small=Metrics(NOW_S, 0.3), near=Metrics(NOW_S, 0.1)))
    assert verdicts(decision) == {"near": "chosen", "small": "cheaper by $4e-05, within the tie band"}
    twin = replace(SMALL, deployment_id="twin")
    same = decided([SMALL, twin], snapshot=measured(small=Metrics(NOW_S, 0.3), twin=Metrics(NOW_S, 0.1)))
    assert verdicts(same)["small"] == "costs the same"


def test_a_price_that_nobody_knows_is_told() -> None:
    unpriced = Facts("free", "openai/free", quality={"default": 0.7})
    assert verdicts(decided([SMALL, unpriced]))["free"] == "its cost is unknown"


def test_where_a_conversation_is_and_what_leaving_it_costs_is_told() -> None:
    """Of 1,000 prompt tokens 800 are cached at LARGE. SMALL would have to read them again."""

    def made(at: str) -> Explanation:
        ask = Ask(REQUEST, Slo(), cached=Cached(at, 800))
        return explain_live(decide(ask, [SMALL, LARGE], view(), Policy(GroupSettings(), "cafe0123")))

    usd = 800 * (SMALL.input_usd_per_token or 0)
    left, stayed = made("large"), made("small")
    told = f"at large, about 800 tokens of it cached; small reads them again for ${usd:.3g}"
    assert (left.deployment, left.conversation) == ("small", told)
    assert stayed.conversation == "at small, about 800 tokens of it cached"
    (other,) = [line.verdict for line in stayed.candidates if not line.is_chosen]
    assert f"must read again what small has cached, for ${800 * (LARGE.input_usd_per_token or 0):.3g}" in other
    assert explain_live(decide_between()).conversation == ""


def test_a_recorded_decision_is_told_as_the_live_one_was() -> None:
    decision = decide_between()
    record = read_back(decision)
    assert record.decision is not None
    assert explain(record.decision, record.slo) == explain_live(decision)
