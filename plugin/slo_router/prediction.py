"""What a deployment would do with this request: latency, cost and quality, each with its evidence.

    TTFT  live: the curve for this prompt at this load, × its p95 ratio; else the benchmark's p95, else its mean
    TPOT  likewise
    E2E   TTFT + TPOT × (expected output tokens − 1)
    cost  self-hosted (`gpu_usd_per_hour`): the measured USD per 1,000 tokens × this request's tokens;
          else prices × tokens; else the measured USD per 1,000 tokens; else unknown

A category that a deployment was not measured in is predicted from its other categories (basis `pooled`). Nothing
measured is `None`, never 0: an unknown deployment is not a fast one. Measured quality replaces configured quality once
it rests on `ENOUGH_ANSWERS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slo_router.domain import Basis, Facts, Features, Metrics, Prediction, Slo, Snapshot
from slo_router.evidence import Prior
from slo_router.latency import P95
from slo_router.latency import probability as chance
from slo_router.latency import tpot_s as live_tpot_s
from slo_router.latency import ttft_s as live_ttft_s
from slo_router.live import LiveState

ENOUGH_ANSWERS = 20
ENOUGH_LIVE = 5.0  # live samples, as they weigh now: before, a benchmark of this category knows more

_LEAST_S = 1e-9  # nothing is faster, and a limit can be divided by it


def predict(
    facts: Facts, features: Features, snapshot: Snapshot, now_s: float, live: LiveState | None = None
) -> Prediction:
    """Predicts one candidate. `now_s` is Unix seconds and only tells the evidence's age."""
    category, prompt_tokens, output_tokens = features.category, features.prompt_tokens, features.output_tokens
    metrics, basis = look_up(facts.deployment_id, category, snapshot)
    ttft_s = tpot_s = age_s = measured_usd = error_rate = samples = None
    quality = facts.quality_for(category)
    in_flight, curve = (0.0, None) if live is None else (live.in_flight, live.curve)
    if curve is not None and curve.weight >= ENOUGH_LIVE:
        ttft_s = live_ttft_s(curve, prompt_tokens, in_flight) * curve.ttft_ratios[P95]
        tpot_s = live_tpot_s(curve, in_flight) * curve.tpot_ratios[P95]
        basis, age_s, samples = "live", now_s - curve.measured_at_s, int(curve.weight)
    elif metrics is not None:
        ttft_s = metrics.ttft_s if metrics.ttft_p95_s is None else metrics.ttft_p95_s
        tpot_s = metrics.tpot_s if metrics.tpot_p95_s is None else metrics.tpot_p95_s
        age_s, samples = now_s - metrics.measured_at_s, metrics.samples
    if metrics is not None:
        measured_usd, error_rate = metrics.cost_per_1k_usd, metrics.error_rate
        if metrics.quality_score is not None and (quality is None or (metrics.quality_n or 0) >= ENOUGH_ANSWERS):
            quality = metrics.quality_score
    e2e_s = None if ttft_s is None or tpot_s is None else ttft_s + tpot_s * (output_tokens - 1 if output_tokens else 0)
    cost_usd, per_1k_usd = _cost_usd(facts, prompt_tokens, output_tokens, measured_usd)
    return Prediction(
        ttft_s, tpot_s, e2e_s, cost_usd, per_1k_usd, quality, error_rate, basis, age_s, samples, in_flight
    )


def probability(features: Features, slo: Slo, live: LiveState) -> float | None:
    """P(the latencies keep the SLO), 0..1; `None` where the live evidence is too thin, or the SLO names no latency.

    Of several limits the least likely decides: they are missed together, when a deployment is busy.
    """
    curve = live.curve
    if curve is None or curve.weight < ENOUGH_LIVE:
        return None
    ttft_s, tpot_s = live_ttft_s(curve, features.prompt_tokens, live.in_flight), live_tpot_s(curve, live.in_flight)
    decode_s = tpot_s * max(features.output_tokens - 1, 0)
    chances: list[float] = []
    if slo.ttft_s is not None:
        chances.append(chance(curve.ttft_ratios, slo.ttft_s / max(ttft_s, _LEAST_S)))
    if slo.tpot_s is not None:
        chances.append(chance(curve.tpot_ratios, slo.tpot_s / max(tpot_s, _LEAST_S)))
    if slo.e2e_s is not None:
        ratios = curve.tpot_ratios if decode_s > ttft_s else curve.ttft_ratios
        chances.append(chance(ratios, slo.e2e_s / max(ttft_s + decode_s, _LEAST_S)))
    return min(chances, default=None)


def look_up(deployment_id: str, category: str, snapshot: Snapshot) -> tuple[Metrics | None, Basis]:
    """The metrics of a deployment in a category, or pooled over the categories it was measured in."""
    measured = snapshot.measured.get(deployment_id)
    if measured is None:
        return None, "none"
    metrics = measured.get(category)
    if metrics is not None:
        return metrics, "measured"
    pooled = snapshot.pooled.get(deployment_id)
    return pooled, "none" if pooled is None else "pooled"


def pool(metrics: Iterable[Metrics]) -> Metrics | None:
    """One estimate over several categories: latencies and cost are the worst measured, for an unknown task may be any.

    The age is that of the oldest. Quality does not carry over from one task to another and is left out.
    """
    rows = list(metrics)
    if not rows:
        return None
    return Metrics(
        measured_at_s=min(row.measured_at_s for row in rows),
        ttft_s=_worst(row.ttft_s for row in rows),
        ttft_p50_s=_worst(row.ttft_p50_s for row in rows),
        ttft_p95_s=_worst(row.ttft_p95_s for row in rows),
        tpot_s=_worst(row.tpot_s for row in rows),
        tpot_p95_s=_worst(row.tpot_p95_s for row in rows),
        throughput_tps=min((row.throughput_tps for row in rows if row.throughput_tps is not None), default=None),
        cost_per_1k_usd=_worst(row.cost_per_1k_usd for row in rows),
        error_rate=_worst(row.error_rate for row in rows),
        samples=sum(row.samples or 0 for row in rows) or None,
    )


def prior(rows: Sequence[Metrics]) -> Prior:
    """What the benchmark expects of a deployment whatever the task: the means over its categories."""
    return Prior(
        _mean([row.ttft_s if row.ttft_p50_s is None else row.ttft_p50_s for row in rows]),
        _mean([row.tpot_s for row in rows]),
        _mean([row.ttft_p95_s for row in rows]),
        _mean([row.tpot_p95_s for row in rows]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _cost_usd(
    facts: Facts, prompt_tokens: int, output_tokens: int, measured_per_1k_usd: float | None
) -> tuple[float | None, float | None]:
    """This request's cost, and per 1,000 tokens."""
    tokens = prompt_tokens + output_tokens
    input_usd, output_usd = facts.input_usd_per_token, facts.output_usd_per_token
    self_hosted = facts.gpu_usd_per_hour is not None and measured_per_1k_usd is not None
    if input_usd is None or output_usd is None or self_hosted:
        return None if measured_per_1k_usd is None else measured_per_1k_usd * tokens / 1_000, measured_per_1k_usd
    cost_usd = prompt_tokens * input_usd + output_tokens * output_usd
    return cost_usd, cost_usd * 1_000 / tokens if tokens else None
