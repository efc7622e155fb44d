"""The report as one HTML page: its figures, and plots of cost and attainment over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slo_router.html_report.page import templates
from slo_router.html_report.plot import Plot, Point, Series
from slo_router.operator.commands.terminal import between, number, percent, usd
from slo_router.operator.reporting.rows import Hour, Report
from slo_router.operator.reporting.tables import tables

MOST_POINTS = 200


def as_html(report: Report) -> str:
    """The HTML page of a report."""
    environment = templates(Path(__file__).parent)
    environment.filters.update(usd=usd, percent=percent, between=between, number=number)
    page = environment.get_template("page.html.j2")
    return page.render(report=report, plots=plots(report.hours), tables=tables(report))


def plots(hours: Sequence[Hour]) -> list[Plot]:
    """Plots of cost and attainment over time; none for a single hour."""
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
    """At most `most` points, each the sum of neighbouring hours."""
    step = -(-len(hours) // most) or 1
    return [_sum(hours[start : start + step]) for start in range(0, len(hours), step)]


def _sum(hours: Sequence[Hour]) -> Hour:
    return Hour(
        hours[0].start_s,
        sum(one.requests for one in hours),
        sum(one.spent_usd for one in hours),
        sum(one.baseline_usd for one in hours),
        sum(one.met for one in hours),
        sum(one.judged for one in hours),
        sum(one.priced for one in hours),
    )
