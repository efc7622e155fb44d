"""A decision in words and in JSON. The response headers, the record and the command line take both from here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slo_router.contract.model import Assessment, Decision, Rejection, Slo, Standing
from slo_router.contract.record import SloRecord
from slo_router.contract.units import MS_PER_S, to_ms
from slo_router.decision.scoring import JUDGED

HEADER_PREFIX = "x-slo-"


def reason(decision: Decision) -> str:
    """One short line: why this deployment."""
    chosen = decision.selected
    if chosen is None:
        return "LiteLLM's own choice"
    broken = [r.filter for r in decision.rejections if r.deployment_id == chosen.deployment_id]
    if broken and _others_pass(decision):
        return f"on trial: what its benchmark found may be over ({', '.join(broken)})"
    if broken:
        return f"no candidate passes {', '.join(broken)}; this one is nearest"
    if chosen.standing is Standing.UNKNOWN:
        return f"{_objective(chosen, decision.assessments)}; no measurement of {', '.join(chosen.unknown)}"
    if chosen.standing is Standing.MISSES:
        why = "best quality" if decision.probability is None else "likeliest"
        would = ", ".join([f"{more} on {name} would" for name, more in _nearest(decision).items()])
        return f"no candidate meets {', '.join(chosen.missed)}; {why} of {len(decision.assessments)}" + (
            f"; {would}" if would else ""
        )
    meeting = sum(a.standing is Standing.MEETS for a in decision.assessments) - _rejected_but_meeting(decision)
    return f"{_objective(chosen, decision.assessments)} of {meeting} that meet the SLO"


def headers(decision: Decision, clamped: tuple[str, ...] = ()) -> dict[str, str]:
    """The response headers of the contract. No secret, no address, nothing of another key's data."""
    named = {
        "selected-model": header_text(decision.deployment_id),
        "decision": decision.kind,
        "category": header_text(decision.features.category),
        "reason": header_text(reason(decision)),
    }
    chosen = decision.selected
    if chosen is not None and chosen.prediction.ttft_s is not None:
        named["predicted-ttft-ms"] = f"{chosen.prediction.ttft_s * MS_PER_S:.1f}"
    if chosen is not None and chosen.prediction.cost_usd is not None:
        named["predicted-cost-usd"] = f"{chosen.prediction.cost_usd:.9f}".rstrip("0").rstrip(".")
    if decision.probability is not None:
        named["probability"] = f"{decision.probability:.2f}"
    if clamped:
        named["clamped"] = ",".join(clamped)
    return {HEADER_PREFIX + name: value for name, value in named.items()}


def header_text(text: str) -> str:
    """Printable ASCII without spaces at its ends, so that a name in the YAML can neither break nor add a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:200].strip()


def slo_record(slo: Slo) -> SloRecord:
    """An SLO in the contract's units."""
    return SloRecord(
        ttft_ms=to_ms(slo.ttft_s),
        tpot_ms=to_ms(slo.tpot_s),
        e2e_ms=to_ms(slo.e2e_s),
        cost_per_1k=slo.cost_per_1k_usd,
        min_quality=slo.min_quality,
    )


def summary(decision: Decision) -> dict[str, object]:
    """The decision in a few flat values, for LiteLLM's other sinks: they copy and serialize it several times each."""
    chosen = decision.selected
    return {
        "policy": decision.policy,
        "kind": decision.kind,
        "deployment": decision.deployment_id,
        "reason": reason(decision),
        "category": decision.features.category,
        "candidates": len(decision.assessments),
        "rejections": ", ".join([f"{r.deployment_id}: {r.filter}" for r in decision.rejections]),
        "probability": decision.probability,
        "predicted_ttft_ms": None if chosen is None else to_ms(chosen.prediction.ttft_s),
        "predicted_cost_usd": None if chosen is None else chosen.prediction.cost_usd,
    }


def span_attributes(decision: Decision, *, shadow: bool) -> dict[str, str | float]:
    """The summary as attributes of an OpenTelemetry span; what is unknown is left out."""
    named = {**summary(decision), "shadow": shadow}
    named["decision"] = named.pop("kind")
    return {f"slo_router.{name}": value for name, value in named.items() if isinstance(value, str | float | int)}


def as_json(decision: Decision) -> dict[str, object]:
    """The whole decision as plain JSON values, for the record."""
    features, outlook = decision.features, decision.outlook
    return {
        "policy": decision.policy,
        "kind": decision.kind,
        "deployment": decision.deployment_id,
        "reason": reason(decision),
        "category": features.category,
        "category_source": features.category_source,
        "estimated_prompt_tokens": features.prompt_tokens,
        "expected_output_tokens": features.output_tokens,
        "cost_interval_usd": None if decision.cost_interval_usd is None else list(decision.cost_interval_usd),
        "cached_tokens": decision.cached_tokens,
        "cached_at": decision.cached_at,
        "reserved_tokens": features.reserved_tokens,
        "limit_tokens": features.limit_tokens,
        "choices": features.choices,
        "needs": sorted(features.needs),
        "probability": decision.probability,
        "ttft_p50_ms": None if outlook is None else to_ms(outlook.ttft_p50_s),
        "ttft_p95_ms": None if outlook is None else to_ms(outlook.ttft_p95_s),
        "relaxation": relaxation_of(decision),
        "quality_confidence": decision.quality_confidence,
        "worth_usd": decision.worth_usd,
        "candidates": [_candidate(assessment, decision) for assessment in decision.assessments],
        "rejections": [_rejection(rejection) for rejection in decision.rejections],
    }


def _candidate(assessment: Assessment, decision: Decision) -> dict[str, object]:
    prediction, name = assessment.prediction, assessment.deployment_id
    scarce = {"shadow_usd": assessment.shadow_usd} if assessment.shadow_usd else {}
    return {
        "deployment": name,
        **scarce,
        "standing": assessment.standing.name.lower(),
        "headroom": assessment.headroom,
        "probability": assessment.probability,
        "missed": list(assessment.missed),
        "unknown": list(assessment.unknown),
        "scores": None if assessment.scores is None else dict(assessment.scores),
        "cached_tokens": decision.read_cached.get(name, 0),
        "leaving_usd": decision.leaving_usd.get(name),
        "predicted": {
            "ttft_ms": to_ms(prediction.ttft_s),
            "tpot_ms": to_ms(prediction.tpot_s),
            "e2e_ms": to_ms(prediction.e2e_s),
            "cost_usd": prediction.cost_usd,
            "cost_per_1k": prediction.cost_per_1k_usd,
            "quality": prediction.quality,
            "quality_bound": prediction.quality_bound,
            "quality_answers": dict(prediction.quality_answers),
            "quality_at_s": prediction.quality_at_s,
            "error_rate": prediction.error_rate,
            "basis": prediction.basis,
            "age_s": prediction.age_s,
            "samples": prediction.samples,
            "in_flight": prediction.in_flight,
            "output_tokens": prediction.output_tokens,
            "longest_tokens": prediction.longest_tokens,
            "answer_tokens": prediction.answer_tokens,
            "hidden_tokens": prediction.hidden_tokens,
        },
    }


def _rejection(rejection: Rejection) -> dict[str, object]:
    return {
        "deployment": rejection.deployment_id,
        "filter": rejection.filter,
        "value": rejection.value,
        "limit": rejection.limit,
    }


def relaxation_of(decision: Decision) -> dict[str, float]:
    """By field of the SLO, in the contract's units: by how much looser it must be for a candidate to meet the SLO.

    Only candidates count that pass the filters and miss that field alone. Empty where a candidate meets the SLO.
    """
    rejected = {rejection.deployment_id for rejection in decision.rejections}
    passing = [a for a in decision.assessments if a.deployment_id not in rejected]
    if any(a.standing is Standing.MEETS for a in passing):
        return {}
    least: dict[str, float] = {}
    asked, positions = slo_record(decision.slo), dict(JUDGED)
    for candidate in passing:
        if len(candidate.missed) == 1 and not candidate.unknown:
            name = candidate.missed[0]
            value = candidate.prediction[positions[name]]
            scale = 1.0 if name == "cost_per_1k" else MS_PER_S
            missing = value * scale - getattr(asked, name)  # type: ignore[operator]  # a missed field has a value
            least[name] = min(missing, least.get(name, missing))
    return least


def _nearest(decision: Decision) -> dict[str, str]:
    return {
        name: f"+${more:.2g} per 1k" if name == "cost_per_1k" else f"+{math.ceil(more)} ms"
        for name, more in relaxation_of(decision).items()
    }


def _objective(chosen: Assessment, assessments: Sequence[Assessment]) -> str:
    if chosen.scores is not None and "total" in chosen.scores:
        return f"highest score {chosen.scores['total']:.2f}"
    if chosen.scores:
        return "best value"
    if chosen.prediction.cost_usd is None:
        return "price unknown, first"
    return "cheapest, scarce places priced," if any(one.shadow_usd for one in assessments) else "cheapest"


def _others_pass(decision: Decision) -> bool:
    rejected = {rejection.deployment_id for rejection in decision.rejections}
    return any(assessment.deployment_id not in rejected for assessment in decision.assessments)


def _rejected_but_meeting(decision: Decision) -> int:
    rejected = {rejection.deployment_id for rejection in decision.rejections}
    return sum(a.standing is Standing.MEETS and a.deployment_id in rejected for a in decision.assessments)
