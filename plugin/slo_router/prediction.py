"""What a deployment would do with this request: latency, cost and quality, each with its evidence.

    TTFT  p95 where it was measured, else the reported mean
    TPOT  likewise
    E2E   TTFT + TPOT × (expected output tokens − 1)
    cost  self-hosted (`gpu_usd_per_hour`): the measured USD per 1,000 tokens × this request's tokens;
          else prices × tokens; else the measured USD per 1,000 tokens; else unknown

A category that a deployment was not measured in is predicted from its other categories (basis `pooled`). Nothing
measured is `None`, never 0: an unknown deployment is not a fast one. Measured quality replaces configured quality once
it rests on `ENOUGH_ANSWERS`.
"""

from __future__ import annotations

from collections.abc import Iterable

from slo_router.domain import Basis, Facts, Features, Metrics, Prediction, Snapshot

ENOUGH_ANSWERS = 20


def predict(facts: Facts, features: Features, snapshot: Snapshot, now_s: float) -> Prediction:
    """Predicts one candidate. `now_s` is Unix seconds and only tells the evidence's age."""
    metrics, basis = look_up(facts.deployment_id, features.category, snapshot)
    tokens = features.prompt_tokens + features.output_tokens
    cost_usd = _cost_usd(facts, features, metrics)
    cost_per_1k_usd = None if cost_usd is None or tokens == 0 else cost_usd * 1_000 / tokens
    quality = facts.quality.get(features.category, facts.quality.get("default"))
    if metrics is None:
        return Prediction(None, None, None, cost_usd, cost_per_1k_usd, quality, None, basis, None, None)
    if metrics.quality_score is not None:
        quality = _better_founded(quality, metrics, basis)
    ttft_s = metrics.ttft_s if metrics.ttft_p95_s is None else metrics.ttft_p95_s
    tpot_s = metrics.tpot_s if metrics.tpot_p95_s is None else metrics.tpot_p95_s
    e2e_s = None
    if ttft_s is not None and tpot_s is not None:
        e2e_s = ttft_s + tpot_s * (features.output_tokens - 1 if features.output_tokens else 0)
    age_s = now_s - metrics.measured_at_s
    rate, samples = metrics.error_rate, metrics.samples
    return Prediction(ttft_s, tpot_s, e2e_s, cost_usd, cost_per_1k_usd, quality, rate, basis, age_s, samples)


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


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _cost_usd(facts: Facts, features: Features, metrics: Metrics | None) -> float | None:
    measured = None if metrics is None else metrics.cost_per_1k_usd
    input_usd, output_usd = facts.input_usd_per_token, facts.output_usd_per_token
    priced = input_usd is not None and output_usd is not None
    if measured is not None and (facts.gpu_usd_per_hour is not None or not priced):
        return measured * (features.prompt_tokens + features.output_tokens) / 1_000
    if input_usd is None or output_usd is None:
        return None
    return features.prompt_tokens * input_usd + features.output_tokens * output_usd


def _better_founded(configured: float | None, metrics: Metrics, basis: Basis) -> float | None:
    if basis != "measured":
        return configured
    return metrics.quality_score if configured is None or (metrics.quality_n or 0) >= ENOUGH_ANSWERS else configured
