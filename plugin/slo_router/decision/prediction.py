"""What a deployment would do with this request: latency, cost and quality, each with its evidence.

    TTFT  live: what the curve keeps with the group's confidence, for this prompt at this load; else the same by the
          curve of the last sweep; else the benchmark's p95, else its mean
    TPOT  likewise
    E2E   TTFT + TPOT × (output tokens − 1), of an answer that is longer than expected: with the group's confidence no
          longer one comes. Lengths are taken to be exponential around the expected one, and end at the client's limit
    cost  self-hosted (`gpu_usd_per_hour`): the measured USD per 1,000 tokens × this request's tokens;
          else prices × tokens (`pricing`); else the measured USD per 1,000 tokens; else unknown

A category that a deployment was not measured in is predicted from its other categories (basis `pooled`). Nothing
measured is `None`, never 0: an unknown deployment is not a fast one. Measured quality replaces configured quality once
it rests on `ENOUGH_ANSWERS`; while the regression gate holds a deployment, its quality is unknown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.ages import FIT_LASTS_S, ODD_SHARE, explains, may_refute
from slo_router.contract.model import (
    Basis,
    Facts,
    Features,
    LatencyFit,
    Metrics,
    Outlook,
    Prediction,
    Rng,
    Slo,
    Snapshot,
)
from slo_router.contract.prices import cost_usd as price_of
from slo_router.contract.prices import rates
from slo_router.latency.curve import LEVELS, P50, P95, Curve, probability
from slo_router.latency.curve import tpot_s as curve_tpot_s
from slo_router.latency.curve import ttft_s as curve_ttft_s
from slo_router.latency.evidence import Prior, fit
from slo_router.live.state import ANSWERS, ERRORS, Findings, LiveState

ENOUGH_ANSWERS = 20
ENOUGH_LIVE = 5.0  # live samples, as they weigh now: before, a benchmark of this category knows more

_EDGES = (0.0, *((a + b) / 2 for a, b in itertools.pairwise(LEVELS)), 1.0)
_WEIGHTS = tuple(high - low for low, high in itertools.pairwise(_EDGES))  # what each of LEVELS stands for
_SURE = sum(_WEIGHTS)
_LONGER = tuple(-math.log(1 - level) for level in LEVELS)  # quantiles of an exponential length, in expected ones

_new = tuple.__new__  # of a named tuple, in half the time of its own constructor
_LEAST_S = 1e-9  # nothing is faster, and a limit can be divided by it


class View(NamedTuple):
    """The world as the decider sees it. `now_s` is Unix seconds; `live` is by deployment id."""

    snapshot: Snapshot
    now_s: float
    rng: Rng
    live: Mapping[str, LiveState] = MappingProxyType({})


class Known(NamedTuple):
    """What is known of a deployment in a category, whatever the request is. It is worked out once for a snapshot."""

    facts: Facts
    basis: Basis
    ttft_s: float | None
    tpot_s: float | None
    measured_at_s: float | None
    samples: int | None
    quality: float | None
    error_rate: float | None
    is_priced: bool  # False: `per_1k_usd` is what counts, for it was measured
    per_1k_usd: float | None
    curve: Curve | None = None  # of a sweep
    failed_at_s: float = 0.0  # when the error rate was measured


def predict(facts: Facts, features: Features, view: View, level: int = P95) -> Prediction:
    """Predicts one candidate. `level` is the position among `latency.LEVELS` of the latencies asked for."""
    prompt_tokens, output_tokens = features.prompt_tokens, features.output_tokens
    known = view.snapshot.known.get((facts.deployment_id, features.category))
    if known is None or known.facts is not facts:
        known = _know(facts, features.category, view.snapshot)
    _, basis, ttft_s, tpot_s, at_s, samples, quality, error_rate, is_priced, per_1k_usd, curve, failed_at_s = known
    live, in_flight = view.live.get(facts.deployment_id), 0.0
    if live is not None:
        in_flight = live.in_flight
        if error_rate and live.proofs:
            shown = live.bad_share(ERRORS, features.category, failed_at_s)
            error_rate = error_rate if shown is None else min(shown, error_rate)
        if live.curve is not None and live.curve.weight >= ENOUGH_LIVE:
            curve = live.curve
            basis, at_s, samples = "live", curve.measured_at_s, int(curve.weight)
    if curve is not None:
        ttft_s = curve_ttft_s(curve, prompt_tokens, in_flight) * curve.ttft_ratios[level]
        tpot_s = curve_tpot_s(curve, in_flight) * curve.tpot_ratios[level]
    e2e_s = expected_s = None
    if ttft_s is not None and tpot_s is not None:
        answer = output_tokens / features.choices  # several are written at the same time
        longest, limit = answer * _LONGER[level], features.limit_tokens
        if limit is not None and limit < longest:
            longest = limit
        expected_s = ttft_s + tpot_s * (answer - 1) if answer > 1 else ttft_s  # `max` would cost a call
        e2e_s = ttft_s + tpot_s * (longest - 1) if longest > 1 else ttft_s
    tokens = prompt_tokens + output_tokens
    cost_usd = price_of(facts, prompt_tokens, output_tokens, 0, expected_s) if is_priced else None
    if cost_usd is not None:
        per_1k_usd = cost_usd * 1_000 / tokens if tokens else None
    else:
        cost_usd = None if per_1k_usd is None else per_1k_usd * tokens / 1_000
    age_s = None if at_s is None else view.now_s - at_s
    return _new(
        Prediction,
        (ttft_s, tpot_s, e2e_s, cost_usd, per_1k_usd, quality, error_rate, basis, age_s, samples, in_flight),
    )


def with_cache(facts: Facts, features: Features, view: View, level: int, cached_tokens: int) -> Prediction:
    """Predicts a candidate that has so many of the prompt's tokens in its prefix cache: they need no prefill."""
    fresh_tokens = max(features.prompt_tokens - cached_tokens, 0)
    whole = predict(facts, features, view, level)
    fresh = predict(facts, features._replace(prompt_tokens=fresh_tokens), view, level)
    whole = whole._replace(ttft_s=fresh.ttft_s, e2e_s=fresh.e2e_s)
    if facts.cached_usd_per_token is None or facts.gpu_usd_per_hour is not None:
        return whole
    cached_tokens = features.prompt_tokens - fresh_tokens
    cost_usd = price_of(facts, features.prompt_tokens, features.output_tokens, cached_tokens)
    if cost_usd is None:
        return whole
    tokens = features.prompt_tokens + features.output_tokens
    return whole._replace(cost_usd=cost_usd, cost_per_1k_usd=cost_usd * 1_000 / tokens if tokens else None)


def _know(facts: Facts, category: str, snapshot: Snapshot) -> Known:
    metrics, basis = look_up(facts.deployment_id, category, snapshot)
    quality, is_priced = facts.quality_for(category), True
    if metrics is None:
        known = Known(facts, basis, None, None, None, None, quality, None, is_priced, None)
    else:
        if metrics.quality_score is not None and (quality is None or (metrics.quality_n or 0) >= ENOUGH_ANSWERS):
            quality = metrics.quality_score
        if metrics.quality_held:
            quality = None  # nobody knows what broke it, so no floor may rest on what it scored, or was said to
        if facts.gpu_usd_per_hour is not None and metrics.cost_per_1k_usd is not None:
            is_priced = False  # self-hosted: what it was measured to cost
        known = Known(
            facts,
            basis,
            metrics.ttft_s if metrics.ttft_p95_s is None else metrics.ttft_p95_s,
            metrics.tpot_s if metrics.tpot_p95_s is None else metrics.tpot_p95_s,
            metrics.measured_at_s,
            metrics.samples,
            quality,
            metrics.error_rate,
            is_priced,
            metrics.cost_per_1k_usd,
            failed_at_s=metrics.failed_at_s,
        )
    swept = _newest_fit(snapshot.measured.get(facts.deployment_id, {}).values())
    if swept is not None:
        curve = fit(None, Prior(fit=swept), swept.measured_at_s)
        known = known._replace(curve=curve, measured_at_s=swept.measured_at_s, samples=swept.samples)
    snapshot.known[facts.deployment_id, category] = known
    return known


def outlook(features: Features, slo: Slo, live: LiveState) -> Outlook | None:
    """What to expect of this request, `None` where the live evidence is too thin.

    Of several limits the least likely decides: they are missed together, when a deployment is busy.
    """
    curve = live.curve
    if curve is None or curve.weight < ENOUGH_LIVE:
        return None
    ttft_ratios, tpot_ratios, in_flight = curve.ttft_ratios, curve.tpot_ratios, live.in_flight
    ttft_s = max(curve_ttft_s(curve, features.prompt_tokens, in_flight), _LEAST_S)
    likely: float | None = None
    if slo.ttft_s is not None:
        likely = probability(ttft_ratios, slo.ttft_s / ttft_s)
    if slo.tpot_s is not None or slo.e2e_s is not None:
        tpot_s = max(curve_tpot_s(curve, in_flight), _LEAST_S)
        if slo.tpot_s is not None:
            chance = probability(tpot_ratios, slo.tpot_s / tpot_s)
            likely = chance if likely is None or chance < likely else likely
        if slo.e2e_s is not None:
            chance = _chance_to_end(features, slo.e2e_s, (ttft_s, ttft_ratios), (tpot_s, tpot_ratios))
            likely = chance if likely is None or chance < likely else likely
    return Outlook(likely, ttft_s * ttft_ratios[P50], ttft_s * ttft_ratios[P95])


def _chance_to_end(
    features: Features, limit_s: float, first: tuple[float, Sequence[float]], further: tuple[float, Sequence[float]]
) -> float:
    """P(the answer has ended in time), by TTFT and TPOT, each with its ratios at `LEVELS`, and by how long it gets."""
    expected, most = features.output_tokens / features.choices, features.limit_tokens
    (ttft_s, ttft_ratios), (tpot_s, tpot_ratios) = first, further
    if most is not None and (limit_s - ttft_s * ttft_ratios[-1]) / (tpot_s * tpot_ratios[-1]) + 1 >= most:
        return _SURE  # even the longest answer at the slowest
    chance = 0.0
    for ttft_ratio, tpot_ratio, weight in zip(ttft_ratios, tpot_ratios, _WEIGHTS, strict=True):
        room = (limit_s - ttft_s * ttft_ratio) / (tpot_s * tpot_ratio) + 1  # tokens
        if room >= 1:
            is_sure = expected <= 1 or (most is not None and room >= most)
            chance += weight * (1.0 if is_sure else 1 - math.exp(-room / expected))
    return chance


def cost_chance(deployment_id: str, features: Features, limit_per_1k_usd: float, snapshot: Snapshot) -> float:
    """P(an answer is of a length at which the cost limit is kept), for a deployment that was predicted before.

    Lengths are taken to be exponential around the expected one. A cost that was measured depends on no length: 0.
    """
    known = snapshot.known.get((deployment_id, features.category))
    if known is None or not known.is_priced or not features.output_tokens:
        return 0.0
    input_usd, output_usd, _ = rates(known.facts, features.prompt_tokens)
    if input_usd is None or output_usd is None:
        return 0.0
    limit_usd = limit_per_1k_usd / 1_000
    input_room, output_room = limit_usd - input_usd, limit_usd - output_usd
    if output_room == 0:
        return 1.0 if input_room >= 0 else 0.0
    bound = -features.prompt_tokens * input_room / output_room / features.output_tokens  # of the expected length
    longer = math.exp(-max(bound, 0.0))
    return longer if output_room > 0 else 1 - longer


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


def answer_faults(candidates: Iterable[Facts], category: str, view: View) -> Mapping[str, str]:
    """By deployment id: what the answer checks found wrong with its answers in a category. Live ones may refute it."""
    faults: dict[str, str] = {}
    for facts in candidates:
        name = facts.deployment_id
        row, state = look_up(name, category, view.snapshot)[0], view.live.get(name)
        if row is None or row.answer_fault is None:
            continue
        odd = None if state is None else state.bad_share(ANSWERS, category, row.faulty_at_s)
        if odd is None or odd > ODD_SHARE:
            faults[name] = row.answer_fault
    return faults


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

    The age is that of the oldest. Quality does not carry over from one task to another and is left out; faulty answers
    and a held quality do where every measured category has them.
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
    )


def _newest_fit(rows: Iterable[Metrics]) -> LatencyFit | None:
    """The last sweep's, unless a benchmark since finds what it cannot explain, or came long after."""
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
