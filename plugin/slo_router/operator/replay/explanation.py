"""Why a decision chose its deployment and not another, and by how much: one line for each candidate.

Live and recorded decisions are explained alike: both have the form that `explain.as_json` writes.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from slo_router.contract.model import Decision
from slo_router.decision.explain import as_json, slo_record
from slo_router.decision.filters import TOO_LARGE
from slo_router.decision.relaxation import BESIDE, KEPT, RECOVERING
from slo_router.operator.replay.recorded import AskedSlo, Candidate, Predicted, RecordedDecision, Rejected

IN_SHADOW = "without effect: LiteLLM chose where the request went"
_UNITS = {
    "ttft_ms": "{:,.0f} ms",
    "tpot_ms": "{:,.1f} ms",
    "e2e_ms": "{:,.0f} ms",
    "cost_per_1k": "${:.3g} per 1k tokens",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One candidate, and in `verdict` why it was chosen or not."""

    deployment: str
    is_chosen: bool
    verdict: str
    predicted: Predicted


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision in words and numbers."""

    deployment: str
    kind: str
    reason: str
    policy: str
    category: str
    category_source: str
    prompt_tokens: int
    output_tokens: int
    slo: AskedSlo
    probability: float | None
    would_do: dict[str, float]  # by how much a field of the SLO is too tight, in its unit
    candidates: tuple[Line, ...]
    cost_interval_usd: tuple[float, float] | None = None  # nine in ten such requests cost between the two
    cached_at: str = ""  # the deployment that has the conversation in its cache
    cached_tokens: int = 0  # prompt tokens expected in that cache
    leaving_usd: float | None = None  # cost of reading these tokens at the chosen deployment; `None` if it has them
    shadow: bool = False  # LiteLLM chose
    quality_confidence: float | None = None  # of each candidate's `quality_bound`

    @property
    def conversation(self) -> str:
        """The deployment that has cached the conversation, and the cost of leaving it; empty where there is none."""
        if not self.cached_at:
            return ""
        said = f"at {self.cached_at}, about {self.cached_tokens:,} tokens of it cached"
        left = self.leaving_usd
        return said if left is None else f"{said}; {self.deployment} reads them again for ${left:.3g}"


def explain(decision: RecordedDecision, slo: AskedSlo) -> Explanation:
    """Explains a recorded decision. The chosen candidate comes first, then the others in the decision's order."""
    chosen = next((one for one in decision.candidates if one.deployment == decision.deployment), None)
    lines = [
        Line(
            one.deployment,
            one is chosen,
            "chosen" if one is chosen else _verdict(one, decision, slo, chosen),
            one.predicted,
        )
        for one in decision.candidates
    ]
    return Explanation(
        deployment=decision.deployment,
        kind=decision.kind,
        reason=decision.reason,
        policy=decision.policy,
        category=decision.category,
        category_source=decision.category_source,
        prompt_tokens=decision.estimated_prompt_tokens,
        output_tokens=decision.expected_output_tokens,
        slo=slo,
        probability=decision.probability,
        would_do=decision.relaxation,
        candidates=tuple(sorted(lines, key=lambda line: not line.is_chosen)),
        cost_interval_usd=decision.cost_interval_usd,
        cached_at=decision.cached_at,
        cached_tokens=next(
            (one.cached_tokens for one in decision.candidates if one.deployment == decision.cached_at), 0
        ),
        leaving_usd=None if chosen is None else chosen.leaving_usd,
        shadow=decision.shadow,
        quality_confidence=decision.quality_confidence,
    )


def explain_live(decision: Decision) -> Explanation:
    """Explains a decision that was just made."""
    asked = msgspec.convert(slo_record(decision.slo).model_dump(), AskedSlo)
    return explain(msgspec.convert(as_json(decision), RecordedDecision), asked)


def _verdict(one: Candidate, decision: RecordedDecision, slo: AskedSlo, chosen: Candidate | None) -> str:
    ruled_out = [
        _ruled_out(rejected, one.predicted) for rejected in decision.rejections if rejected.deployment == one.deployment
    ]
    if ruled_out:
        return f"ruled out: {'; '.join(ruled_out)}"
    said = [f"misses {_missed(name, one.predicted, slo)}" for name in one.missed]
    if one.unknown and not said:
        said = [f"nothing is known of its {', '.join(one.unknown)}"]
    if chosen is not None and one.standing == chosen.standing:
        said.append(_less_likely(one, chosen) if one.missed else _behind(one, chosen))
    if one.leaving_usd is not None:
        said.append(f"must read again what {decision.cached_at} has cached, for ${one.leaving_usd:.3g}")
    return "; ".join(said)


def _ruled_out(rejected: Rejected, predicted: Predicted) -> str:
    value, limit = rejected.value, rejected.limit
    if rejected.filter == "quality" and predicted.quality != value and isinstance(value, float | int):
        return f"quality is sure to be {value:.3g}, and {limit} is asked for"
    said = {
        "already_tried": f"is {BESIDE}, and another is able" if value == BESIDE else "failed this request already",
        "circuit": "it recovers, and another is able"
        if value == RECOVERING
        else "its circuit is open, for it fails now",
        "account": "it refuses every request: its account, or its model's name",
        "quota": "the rest of its quota is kept for requests with no other way"
        if value == KEPT
        else "it refused a request as large as this"
        if value == TOO_LARGE
        else "it has all the requests that it may have",
        "answers": f"its answers failed their checks: {value}",
        "capability": f"cannot do {value}",
    }.get(rejected.filter)
    if said is not None:
        return said
    name = rejected.filter.replace("_", " ")
    if isinstance(value, float) and isinstance(limit, float):
        side = "above" if value > limit else "below"
        return f"{name} {value:g} is {side} {limit:g} by {abs(value - limit):.3g}"
    return f"{name} unknown, {limit} is asked for"


def _missed(name: str, predicted: Predicted, slo: AskedSlo) -> str:
    value, limit = getattr(predicted, name, None), getattr(slo, name, None)
    if value is None or limit is None:
        return name
    unit = _UNITS[name]
    return f"{name} by {unit.format(value - limit)} ({unit.format(value)} against {unit.format(limit)})"


def _less_likely(one: Candidate, chosen: Candidate) -> str:
    """Why a candidate lost where none keeps the SLO. The order is: probability, quality, distance to the limit."""
    if one.probability is not None and chosen.probability is not None and one.probability < chosen.probability:
        return f"keeps it with {one.probability:.0%}, the chosen with {chosen.probability:.0%}"
    quality, best = one.predicted.quality, chosen.predicted.quality
    if best is not None and (quality is None or quality < best):
        return f"quality {'unknown' if quality is None else f'{quality:g}'}, the chosen {best:g}"
    return "further over the limit, in parts of it"


def _less_worth(one: Candidate, chosen: Candidate) -> str:
    """Why a candidate lost under the objective `value`."""
    worth_usd, best_usd = (one.scores or {}).get("quality_usd"), (chosen.scores or {}).get("quality_usd", 0.0)
    if worth_usd is None or one.predicted.cost_usd is None or chosen.predicted.cost_usd is None:
        return "its quality is unknown" if worth_usd is None else "its cost is unknown"
    return (
        f"its quality is worth ${worth_usd:.3g} for ${one.predicted.cost_usd:.3g}, "
        f"the chosen one's ${best_usd:.3g} for ${chosen.predicted.cost_usd:.3g}"
    )


def _behind(one: Candidate, chosen: Candidate) -> str:
    if one.shadow_usd and one.scores is None:
        return f"its place is worth ${one.shadow_usd:.3g} to those who have no other"
    if chosen.scores and "quality_usd" in chosen.scores:
        return _less_worth(one, chosen)
    if one.scores is not None and chosen.scores is not None:
        return f"scores {one.scores.get('total', 0.0):.3f}, the chosen {chosen.scores.get('total', 0.0):.3f}"
    cost_usd, least_usd = one.predicted.cost_usd, chosen.predicted.cost_usd
    if cost_usd is None or least_usd is None:
        return "its cost is unknown" if cost_usd is None else "meets the SLO"
    if cost_usd > least_usd:
        times = f", {cost_usd / least_usd:.1f} times as much" if least_usd > 0 else ""
        return f"dearer by ${cost_usd - least_usd:.3g}{times}"
    return "costs the same" if cost_usd == least_usd else f"cheaper by ${least_usd - cost_usd:.3g}, within the tie band"
