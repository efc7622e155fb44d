"""The report as one HTML page: its figures, and cost and attainment over time as plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from slo_router.html_report.page import templates
from slo_router.html_report.plot import Plot, Point, Series
from slo_router.operator.commands.terminal import between, number, percent, usd
from slo_router.operator.reporting.rows import Hour, QualityRow, Report, Row

MOST_POINTS = 200
Table: TypeAlias = tuple[str, tuple[str, ...], list[tuple[str, ...]]]  # title, names of the columns, rows


def as_html(report: Report) -> str:
    """The whole page."""
    environment = templates(Path(__file__).parent)
    environment.filters.update(usd=usd, percent=percent, between=between, number=number)
    page = environment.get_template("page.html.j2")
    return page.render(report=report, plots=plots(report.hours), tables=_tables(report))


def plots(hours: Sequence[Hour]) -> list[Plot]:
    """Cost and attainment over time; none where there is a single hour."""
    points = merge(hours, MOST_POINTS)
    if len(points) < 2:
        return []
    priced = [one for one in points if one.priced]
    cost = [
        Series("spent", [Point(one.start_s, 1_000 * one.spent_usd / one.priced) for one in priced]),
        Series("baseline", [Point(one.start_s, 1_000 * one.baseline_usd / one.priced) for one in priced]),
    ]
    kept = Series("kept", [Point(one.start_s, 100 * (one.attainment or 0.0)) for one in points])
    unit = "USD per 1,000 requests of known cost"
    return [
        *([Plot("Cost", "", unit, cost, has_dots=False)] if len(priced) > 1 else []),
        Plot("SLO kept", "", "%", [kept], has_dots=False),
    ]


def merge(hours: Sequence[Hour], most: int) -> list[Hour]:
    """At most so many points, each the sum of neighbouring hours; attainment is weighted by requests."""
    step = -(-len(hours) // most) or 1
    return [_sum(hours[start : start + step]) for start in range(0, len(hours), step)]


def _sum(hours: Sequence[Hour]) -> Hour:
    judged = [one for one in hours if one.attainment is not None]
    weight = sum(one.requests for one in judged)
    kept = sum((one.attainment or 0.0) * one.requests for one in judged)
    return Hour(
        hours[0].start_s,
        sum(one.requests for one in hours),
        sum(one.spent_usd for one in hours),
        sum(one.baseline_usd for one in hours),
        kept / weight if weight else None,
        sum(one.priced for one in hours),
    )


def _tables(report: Report) -> list[Table]:
    columns = ("share", "requests", "spent", "saved", "SLO kept", "quality", "TTFT p50 / p95", "errors")
    parts = {"deployment": report.deployments, "category": report.categories, "team": report.teams}
    quality = ("deployment", "category", "requests", "configured", "measured", "answers judged", "95 % interval")
    return [
        *((f"By {name}", (name, *columns), [_row(row) for row in rows]) for name, rows in parts.items()),
        ("Quality and its evidence", quality, [_quality(row) for row in report.quality]),
    ]


def _row(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        percent(row.share),
        f"{row.requests:,}",
        usd(row.spent_usd),
        percent(row.saved_share),
        percent(row.attainment),
        number(row.quality, 3),
        f"{number(row.ttft_p50_ms)} / {number(row.ttft_p95_ms)} ms",
        f"{row.errors:,}",
    )


def _quality(row: QualityRow) -> tuple[str, ...]:
    measured = number(row.measured, 3), number(row.measured_answers), between(row.measured_interval)
    return row.deployment, row.category, f"{row.requests:,}", number(row.configured, 3), *measured
