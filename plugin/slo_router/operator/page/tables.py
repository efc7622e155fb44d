"""The page's tables: share and cost, attainment, predictions and qualities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from slo_router.contract.model import Metrics
from slo_router.contract.units import to_ms
from slo_router.operator.commands.terminal import UNKNOWN, between, number, percent, span, usd
from slo_router.operator.page.cells import BAR, Cell, Range, Table, count, plain
from slo_router.operator.page.reading import Now
from slo_router.operator.reporting.graded import GradedQuality, answers_in_words
from slo_router.operator.reporting.present import Deployment
from slo_router.operator.reporting.rows import QualityRow, Row


class Expected(NamedTuple):
    """One deployment's latency and cost, as one source gives them."""

    deployment: str
    source: str
    low_ms: float | None  # p50
    high_ms: float | None  # p95
    tpot_ms: float | None
    per_1k_usd: float | None
    samples: float | None
    age_s: float | None
    limit_ms: float | None


def deployments(now: Now) -> Table:
    """Share, cost and state of each deployment: first the YAML's, then deployments that only the records have."""
    rows = {row.name: row for row in now.report.deployments}
    known = [
        _deployment(one.group, one.name, one.in_flight, one.circuit, rows.pop(one.name, None))
        for one in now.deployments
    ]
    gone = [_deployment(UNKNOWN, name, None, UNKNOWN, row) for name, row in rows.items()]
    columns = ("deployment", "group", "share", "requests", "spent", "per request", "saved", "SLO kept", "TTFT p50/p95")
    return Table("Share and cost", (*columns, "in flight", "circuit"), (*known, *gone))


def attainment(title: str, rows: Sequence[Row]) -> Table:
    """The share of requests that kept their SLO, by category or team, with its interval."""
    columns = (title, "requests", "SLO kept", "95 % interval", "judged", "errors", "spent", "saved")
    return Table(
        f"SLO by {title}",
        columns,
        tuple(
            (
                Cell(row.name),
                count(row.requests),
                Cell(percent(row.attainment), is_number=True, share=row.attainment),
                Cell(between(row.attainment_interval), is_number=True),
                count(row.judged),
                count(row.errors),
                plain(usd(row.spent_usd)),
                plain(percent(row.saved_share)),
            )
            for row in rows
        ),
    )


def expectations(now: Now) -> Table:
    """The evidence of every prediction, live and by benchmarked category, with bounds and age."""
    found = list(_expected(now))
    top_ms = max((max(one.high_ms or 0.0, one.low_ms or 0.0, one.limit_ms or 0.0) for one in found), default=0.0)
    columns = ("deployment", "evidence", "TTFT p50 to p95", "per token", "per 1k tokens", "samples", "age")
    return Table(
        "Predictions, their bounds and age",
        columns,
        tuple(
            (
                Cell(one.deployment),
                Cell(one.source),
                Cell(_between_ms(one.low_ms, one.high_ms), is_number=True, bounds=_range(one, top_ms)),
                plain(UNKNOWN if one.tpot_ms is None else f"{one.tpot_ms:,.1f} ms"),
                plain(usd(one.per_1k_usd)),
                plain(number(one.samples)),
                plain(UNKNOWN if one.age_s is None else span(one.age_s)),
            )
            for one in found
        ),
        "Nothing is measured: run slo-bench, or send traffic.",
    )


def qualities(rows: Sequence[QualityRow], now: Sequence[Deployment]) -> Table:
    """The answers' quality as configured, as measured and as it counts `now`, with its evidence."""
    measured = ("configured", "measured", "95 % interval", "answers judged")
    counts = ("counts as", "at least", "by answers of", "newest")
    columns = ("deployment", "category", *measured, *counts, "requests")
    graded = {(one.name, category): found for one in now for category, found in one.quality.items()}
    return Table(
        "Quality and its evidence",
        columns,
        tuple(
            (
                Cell(row.deployment),
                Cell(row.category),
                plain(number(row.configured, 3)),
                Cell(number(row.measured, 3), is_number=True, share=row.measured),
                plain(_interval(row.measured_interval)),
                plain(UNKNOWN if row.measured_answers is None else f"{row.measured_answers:,}"),
                *_graded(graded.get((row.deployment, row.category))),
                count(row.requests),
            )
            for row in rows
        ),
    )


def _graded(found: GradedQuality | None) -> tuple[Cell, ...]:
    if found is None:  # no answer was graded, so the configured number counts
        return plain(UNKNOWN), plain(UNKNOWN), Cell(UNKNOWN), plain(UNKNOWN)
    return (
        plain(number(found.mean, 3)),
        plain(f"{number(found.bound, 3)} ({percent(found.bound_confidence, 0)} sure)"),
        Cell(answers_in_words(found.answers)),
        plain(UNKNOWN if found.newest_age_s is None else f"{span(found.newest_age_s)} old"),
    )


def _deployment(group: str, name: str, in_flight: float | None, circuit: str, row: Row | None) -> tuple[Cell, ...]:
    state = Cell(circuit, tone="" if circuit in {"closed", UNKNOWN} else "bad")
    if row is None:
        nothing = [Cell(UNKNOWN, is_number=True)] * 4
        start = (Cell(name), Cell(group), Cell(percent(0.0), is_number=True, share=0.0), count(0), plain(usd(0.0)))
        return (*start, *nothing, plain(number(in_flight)), state)
    priced = row.requests - row.errors - row.unpriced
    each_usd = row.spent_usd / priced if priced and row.spent_usd is not None else None
    return (
        Cell(name),
        Cell(group),
        Cell(percent(row.share), is_number=True, share=row.share),
        count(row.requests),
        plain(usd(row.spent_usd)),
        plain(usd(each_usd)),
        plain(percent(row.saved_share)),
        plain(percent(row.attainment)),
        plain(_pair_ms(row.ttft_p50_ms, row.ttft_p95_ms)),
        plain(number(in_flight)),
        state,
    )


def _expected(now: Now) -> list[Expected]:
    limits = {name: group.slo.ttft_ms for name, group in now.settings.plugin.groups.items()}
    found = []
    for one in now.deployments:
        limit_ms = limits.get(one.group)
        if one.live_samples:
            live = (one.ttft_p50_ms, one.ttft_p95_ms, one.tpot_ms, None, one.live_samples, one.live_age_s)
            found.append(Expected(one.name, "live, 1,000 tokens at this load", *live, limit_ms))
        for category, metrics in sorted(now.measured.snapshot.measured.get(one.name, {}).items()):
            age_s = max(now.read_at_s - metrics.measured_at_s, 0.0)
            found.append(_benchmarked(one.name, category, metrics, age_s, limit_ms))
    return found


def _benchmarked(name: str, category: str, metrics: Metrics, age_s: float, limit_ms: float | None) -> Expected:
    low_s = metrics.ttft_s if metrics.ttft_p50_s is None else metrics.ttft_p50_s
    times = (low_s, metrics.ttft_p95_s, metrics.tpot_s)
    scaled = [to_ms(one) for one in times]
    evidence = (metrics.cost_per_1k_usd, metrics.samples, age_s)
    return Expected(name, f"benchmark: {category}", scaled[0], scaled[1], scaled[2], *evidence, limit_ms)


def _range(one: Expected, top_ms: float) -> Range | None:
    low_ms = one.high_ms if one.low_ms is None else one.low_ms
    high_ms = one.low_ms if one.high_ms is None else one.high_ms
    if low_ms is None or high_ms is None or top_ms <= 0:
        return None
    limit = None if one.limit_ms is None else one.limit_ms / top_ms * BAR
    return Range(low_ms / top_ms * BAR, high_ms / top_ms * BAR, limit)


def _between_ms(low_ms: float | None, high_ms: float | None) -> str:
    if low_ms is None or high_ms is None:
        return UNKNOWN if low_ms is None else f"{low_ms:,.0f} ms"
    return f"{low_ms:,.0f} to {high_ms:,.0f} ms"


def _interval(interval: tuple[float, float] | None) -> str:
    return UNKNOWN if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _pair_ms(low_ms: float | None, high_ms: float | None) -> str:
    return UNKNOWN if low_ms is None or high_ms is None else f"{low_ms:,.0f}/{high_ms:,.0f} ms"
