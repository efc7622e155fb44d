"""What is known of a deployment in a category, whatever the request is: what was measured, else what is configured.

    measured in the category, else in its other categories (`pool`), else nothing
    its quality as it was judged in the background (`quality.judging`), else what is configured
    the last sweep as a curve, unless a newer benchmark finds what it cannot explain (`prior`)

What the benchmark found against a deployment (`findings`) counts until live requests outweigh it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.ages import FIT_LASTS_S, explains, may_refute
from slo_router.contract.model import EMPTY, Basis, Facts, LatencyFit, Metrics, Snapshot
from slo_router.latency.curve import Curve
from slo_router.latency.evidence import Prior, fit
from slo_router.live.state import ANSWERS, ERRORS, Findings
from slo_router.quality.judging import Judged, stated_for
from slo_router.quality.posterior import Belief
from slo_router.request.lengths import LONGEST_ANSWER

NOT_JUDGED: Judged = MappingProxyType({})


class Known(NamedTuple):
    """What is known of a deployment in a category, whatever the request is and whatever tier it names."""

    basis: Basis
    ttft_s: float | None
    tpot_s: float | None
    measured_at_s: float | None
    samples: int | None
    quality: float | None
    error_rate: float | None
    is_priced: bool  # False: the measured `per_1k_usd` counts
    per_1k_usd: float | None
    curve: Curve | None = None  # of a sweep
    failed_at_s: float = 0.0  # when the error rate was measured
    graded: tuple[float | None, Mapping[str, float], float | None] = (None, EMPTY, None)  # see `_quality`
    hidden_tokens: float | None = None  # the mean before the measured TTFT, where they were counted


def know(facts: Facts, categories: Iterable[str], snapshot: Snapshot, judged: Judged = NOT_JUDGED) -> dict[str, Known]:
    """What is known of a deployment, by category."""
    beliefs = judged.get(facts.deployment_id, {})
    found = {category: _known(facts, category, snapshot, beliefs.get(category)) for category in categories}
    rows = snapshot.measured.get(facts.deployment_id, {}).values()
    swept = _newest_fit(rows)
    if swept is None:
        return found
    at_s, samples = swept.measured_at_s, swept.samples
    curve = fit(None, Prior(fit=swept, hidden_tokens=_hidden_tokens(rows)), at_s)
    return {name: one._replace(curve=curve, measured_at_s=at_s, samples=samples) for name, one in found.items()}


def _known(facts: Facts, category: str, snapshot: Snapshot, belief: Belief | None) -> Known:
    metrics, basis = look_up(facts.deployment_id, category, snapshot)
    quality, graded = _quality(facts, category, snapshot, metrics, belief)
    if metrics is None:
        return Known(basis, None, None, None, None, quality, None, is_priced=True, per_1k_usd=None, graded=graded)
    return Known(
        basis,
        metrics.ttft_s if metrics.ttft_p95_s is None else metrics.ttft_p95_s,
        metrics.tpot_s if metrics.tpot_p95_s is None else metrics.tpot_p95_s,
        metrics.measured_at_s,
        metrics.samples,
        quality,
        metrics.error_rate,
        facts.gpu_usd_per_hour is None or metrics.cost_per_1k_usd is None,  # self-hosted: the measured cost counts
        metrics.cost_per_1k_usd,
        None,
        metrics.failed_at_s,
        graded,
        None if metrics.hidden_tokens_mean is None else min(metrics.hidden_tokens_mean, LONGEST_ANSWER),
    )


def _quality(
    facts: Facts, category: str, snapshot: Snapshot, metrics: Metrics | None, belief: Belief | None
) -> tuple[float | None, tuple[float | None, Mapping[str, float], float | None]]:
    """The mean; and the bound, the graded answers by source, and when the newest of them was given."""
    if metrics is not None and metrics.quality_held:
        return None, (None, EMPTY, None)  # nobody knows what broke it: no floor may rest on it
    if belief is not None:
        return belief.mean, (belief.bound, belief.sources, belief.at_s)
    stated = stated_for(facts, category, snapshot.measured.get(facts.deployment_id, {}).get(category))
    return stated, (stated, EMPTY, None)


def look_up(deployment_id: str, category: str, snapshot: Snapshot) -> tuple[Metrics | None, Basis]:
    """The metrics of a deployment in a category, or pooled over the categories it was measured in.

    A category with a quality and no latency (its answers were graded, its speed never measured) gets the pooled ones.
    """
    measured = snapshot.measured.get(deployment_id)
    if measured is None:
        return None, "none"
    metrics, pooled = measured.get(category), snapshot.pooled.get(deployment_id)
    if metrics is None:
        return pooled, "none" if pooled is None else "pooled"
    if metrics.ttft_s is None and metrics.tpot_s is None and pooled is not None and pooled.ttft_s is not None:
        return pooled._replace(
            quality_score=metrics.quality_score,
            quality_n=metrics.quality_n,
            quality_held=metrics.quality_held,
            answer_fault=metrics.answer_fault,
            fault_at_s=metrics.faulty_at_s,
            error_rate=pooled.error_rate if metrics.error_rate is None else metrics.error_rate,
            error_at_s=pooled.error_at_s if metrics.error_rate is None else metrics.failed_at_s,
        ), "pooled"
    return metrics, "measured"


def findings(deployment_id: str, categories: Iterable[str], snapshot: Snapshot, max_error_rate: float) -> Findings:
    """What the benchmark found against a deployment that live requests can outweigh, with when it was measured."""
    found: dict[tuple[str, str], float] = {}
    for category in categories if snapshot.any_error or snapshot.any_fault else ():
        row = look_up(deployment_id, category, snapshot)[0]
        if row is not None and (row.error_rate or 0.0) > max_error_rate:
            found[ERRORS, category] = row.failed_at_s
        if row is not None and may_refute(row.answer_fault):
            found[ANSWERS, category] = row.faulty_at_s
    return found


def pool(metrics: Iterable[Metrics]) -> Metrics | None:
    """One estimate over several categories: latencies and cost are the worst measured, for an unknown task may be any.

    The age is that of the oldest. Quality does not carry over from one task to another and is left out. Faulty answers
    and a held quality carry over where every measured category has them.
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
        error_at_s=_worst(row.failed_at_s for row in rows if row.error_rate),
        samples=sum(row.samples or 0 for row in rows) or None,
        answer_fault=rows[0].answer_fault if all(row.answer_fault for row in rows) else None,
        fault_at_s=_worst(row.faulty_at_s for row in rows if row.answer_fault),
        quality_held=all(row.quality_held for row in rows),
    )


def prior(rows: Sequence[Metrics]) -> Prior:
    """What the benchmark expects of a deployment whatever the task: means over its categories, and the last sweep."""
    return Prior(
        _mean([row.ttft_s if row.ttft_p50_s is None else row.ttft_p50_s for row in rows]),
        _mean([row.tpot_s for row in rows]),
        _mean([row.ttft_p95_s for row in rows]),
        _mean([row.tpot_p95_s for row in rows]),
        _newest_fit(rows),
        _hidden_tokens(rows),
    )


def _hidden_tokens(rows: Iterable[Metrics]) -> float:
    """The mean, where any were measured."""
    return min(_mean([row.hidden_tokens_mean for row in rows]) or 0.0, LONGEST_ANSWER)


def _newest_fit(rows: Iterable[Metrics]) -> LatencyFit | None:
    """The last sweep's fit, unless a later benchmark contradicts it, or came long after."""
    rows = list(rows)
    fits = [row.fit for row in rows if row.fit is not None]
    if not fits:
        return None
    newest = max(fits, key=lambda one: one.measured_at_s)
    later = [row for row in rows if row.measured_at_s > newest.measured_at_s]
    return newest if all(_confirms(row, newest) for row in later) else None


def _confirms(row: Metrics, fit: LatencyFit) -> bool:
    return row.measured_at_s - fit.measured_at_s <= FIT_LASTS_S and explains(fit, row)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
