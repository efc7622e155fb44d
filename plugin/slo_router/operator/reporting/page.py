"""The report as one HTML page with its plots inside: nothing is loaded from elsewhere, and no script runs.

Plots are SVG shapes whose coordinates are worked out here; colours follow the reader's light or dark setting. Each plot
has its numbers in a table beside it, for those who cannot see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from slo_router.operator.reporting.rows import Hour, Report

WIDTH, HEIGHT = 640.0, 180.0  # of a plot's area, in its own units
MOST_POINTS = 200
TEMPLATE = "page.html.j2"


class Line(NamedTuple):
    """One polyline: its name and its points as SVG takes them."""

    name: str
    points: str


class Chart(NamedTuple):
    """Lines over time that share one scale from 0 to `top`."""

    title: str
    unit: str
    top: float
    lines: tuple[Line, ...]
    first: str
    last: str


def as_html(report: Report) -> str:
    """The whole page."""
    # Imported here because a tenth of every command's start would be spent on what few of them need.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(usd=_usd, percent=_percent, day=_day)
    return environment.get_template(TEMPLATE).render(report=report, charts=charts(report.hours), size=(WIDTH, HEIGHT))


def charts(hours: Sequence[Hour]) -> list[Chart]:
    """Cost and attainment over time; none where there is a single hour."""
    points = merge(hours, MOST_POINTS)
    if len(points) < 2:
        return []
    priced = [one for one in points if one.priced]
    cost = [
        ("spent", [1_000 * one.spent_usd / one.priced for one in priced]),
        ("baseline", [1_000 * one.baseline_usd / one.priced for one in priced]),
    ]
    return [
        *([_chart("Cost", "USD per 1,000 requests of known cost", priced, cost, None)] if len(priced) > 1 else []),
        _chart("SLO kept", "%", points, [("kept", [100 * (one.attainment or 0.0) for one in points])], 100.0),
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


def _chart(
    title: str, unit: str, hours: Sequence[Hour], named: Sequence[tuple[str, Sequence[float]]], top: float | None
) -> Chart:
    highest = top or max(max(values) for _, values in named) or 1.0
    start_s, span_s = hours[0].start_s, hours[-1].start_s - hours[0].start_s or 1
    at = [(one.start_s - start_s) / span_s * WIDTH for one in hours]
    lines = tuple(
        Line(name, " ".join(f"{x:.1f},{HEIGHT * (1 - y / highest):.1f}" for x, y in zip(at, values, strict=True)))
        for name, values in named
    )
    return Chart(title, unit, highest, lines, _day(start_s), _day(hours[-1].start_s))


def _usd(value: float | None) -> str:
    return "–" if value is None else f"${value:,.2f}" if abs(value) >= 100 else f"${value:,.4g}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _day(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")
