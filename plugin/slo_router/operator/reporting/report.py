"""The report: one row for the total and one for each deployment, category and team, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from slo_router.contract.intervals import Interval, PairSums, ratio, wilson
from slo_router.contract.model import Facts, Snapshot
from slo_router.decision.known import NOT_JUDGED
from slo_router.operator.drift.drift import NO_DRIFT, Drift
from slo_router.operator.reporting.rows import Hour, Lines, QualityRow, Report, Row
from slo_router.operator.reporting.tally import HOUR_S, Tallies, Tally
from slo_router.quality.judging import Judged
from slo_router.telemetry.baseline import BASELINE

ENOUGH_HOURS = 10  # with fewer hours the interval is computed over single requests
SAME_OUTPUT = "The baseline is assumed to write as many output tokens; prices and all else are exact."


class Evidence(NamedTuple):
    """What is known now of the qualities, from the benchmark and from all graded answers; and what has changed."""

    snapshot: Snapshot = Snapshot()
    judged: Judged = NOT_JUDGED
    drift: Drift = NO_DRIFT


def make_report(
    tallies: Tallies,
    lines: Lines,
    baseline: str | None,
    facts: Iterable[Facts],
    known: Evidence,
) -> Report:
    """Makes the report."""
    total = tallies.total
    hours = [(one.spent_usd, one.baseline_usd) for one in tallies.hours.values() if one.priced]
    by_hour = len(hours) >= ENOUGH_HOURS
    interval = ratio(PairSums.of(hours)) if by_hour else ratio(total.money)
    return Report(
        first_s=None if not total.requests else tallies.first_s,
        last_s=None if not total.requests else tallies.last_s,
        baseline=baseline or BASELINE,
        lines_read=lines.read,
        lines_broken=lines.broken,
        lines_left_out=lines.left_out,
        total=_row("all", total, total.requests, interval),
        interval_basis=f"{len(hours)} hours" if by_hour else f"{total.priced} requests, taken as independent",
        assumptions=_assumptions(total),
        deployments=_rows(tallies.deployments, total.requests),
        categories=_rows(tallies.categories, total.requests),
        teams=_rows(tallies.teams, total.requests),
        quality=_quality(tallies, {one.deployment_id: one for one in facts}, known),
        drift=known.drift,
        hours=tuple(Hour.of(hour * HOUR_S, one) for hour, one in sorted(tallies.hours.items())),
    )


def _row(name: str, tally: Tally, requests: int, spent_share: Interval | None) -> Row:
    judged = tally.met + tally.missed
    return Row(
        name=name,
        requests=tally.requests,
        share=tally.requests / requests if requests else 0.0,
        errors=tally.errors,
        cache_hits=tally.cache_hits,
        tokens=tally.tokens,
        spent_usd=tally.known_usd(tally.spent_usd),
        baseline_usd=tally.known_usd(tally.baseline_usd),
        saved_usd=tally.known_usd(tally.baseline_usd - tally.spent_usd),
        saved_share=1 - tally.spent_usd / tally.baseline_usd if tally.baseline_usd > 0 else None,
        saved_interval=None if spent_share is None else Interval(1 - spent_share.high, 1 - spent_share.low),
        unpriced=tally.unpriced,
        attainment=tally.met / judged if judged else None,
        attainment_interval=wilson(tally.met, judged) if judged else None,
        judged=judged,
        quality=tally.quality / tally.quality_count if tally.quality_count else None,
        baseline_quality=tally.baseline_quality / tally.quality_count if tally.quality_count else None,
        ttft_p50_ms=tally.ttft_ms(0.5),
        ttft_p95_ms=tally.ttft_ms(0.95),
        shadow=tally.shadow,
        quality_bound=tally.bounds.means[1],
    )


def _rows(tallies: Mapping[str, Tally], requests: int) -> tuple[Row, ...]:
    busiest_first = sorted(tallies.items(), key=lambda item: (-item[1].requests, item[0]))
    return tuple(_row(name, tally, requests, ratio(tally.money)) for name, tally in busiest_first)


def _quality(tallies: Tallies, facts: Mapping[str, Facts], seen: Evidence) -> tuple[QualityRow, ...]:
    rows: list[QualityRow] = []
    for (deployment, category), requests in sorted(tallies.served.items()):
        known = facts.get(deployment)
        metrics = seen.snapshot.measured.get(deployment, {}).get(category)
        score, answers = (None, None) if metrics is None else (metrics.quality_score, metrics.quality_n)
        interval = None if score is None or not answers else wilson(score * answers, answers)
        configured = None if known is None else known.quality_for(category)
        recorded = tallies.bounds.get((deployment, category))
        belief = seen.judged.get(deployment, {}).get(category)
        now = (configured, configured) if belief is None else (belief.mean, belief.bound)
        if metrics is not None and metrics.quality_held:  # for decisions a held quality is unknown
            now = None, None
        mean, bound = now if recorded is None else recorded.means
        measured, is_recorded = (configured, score, answers, interval), recorded is not None
        rows.append(QualityRow(deployment, category, requests, *measured, mean, bound, is_recorded=is_recorded))
    return tuple(rows)


def _assumptions(total: Tally) -> tuple[str, ...]:
    notes = [SAME_OUTPUT]
    if total.estimated:
        notes.append(
            f"{total.estimated} of {total.priced} requests involve a deployment without a list price: "
            "its recorded USD per 1,000 tokens is used instead, which is an estimate."
        )
    if total.unpriced:
        notes.append(f"{total.unpriced} requests are in no sum of USD: a price, or the number of tokens, is unknown.")
    if total.shadow:
        notes.append(
            f"{total.shadow} requests were in shadow: LiteLLM chose, so they save nothing. "
            "`slo-router replay` tells what the decisions would have cost."
        )
    if total.cache_hits:
        notes.append(f"{total.cache_hits} cache hits save nothing here: the cache would also answer for the baseline.")
    return tuple(notes)
