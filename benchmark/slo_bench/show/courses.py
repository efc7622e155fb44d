"""The plots of the history: one per figure and category, one line per deployment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slo_bench.show.chart import HEIGHT, WIDTH, Chart, Dot, Series, day, grouped, line, upwards
from slo_bench.show.rows import Past
from slo_bench.show.scale import around, from_zero, over_time
from slo_router.contract.units import MS_PER_S

# A figure of the history: its title, its unit, and what its values are multiplied by.
FIGURES = {
    "quality_score": ("Quality", "0 to 1", 1.0),
    "ttft_p50_s": ("TTFT, median", "ms", MS_PER_S),
    "e2e_p50_s": ("Whole answer, median", "ms", MS_PER_S),
    "cost_per_1k_usd": ("Cost", "USD per 1,000 tokens", 1.0),
    "error_rate": ("Errors", "% of the requests", 100.0),
}


def past_charts(past: Iterable[Past]) -> list[Chart]:
    """The course of each figure, one plot per figure and category and one line per deployment; none of zeros alone."""
    known = [one for one in past if one.figure in FIGURES and len(one.points) > 1]
    order = list(FIGURES)
    ordered = sorted(known, key=lambda one: (one.category, order.index(one.figure)))
    together = [rows for _, rows in grouped(ordered, lambda one: (one.category, one.figure))]
    return [_past_chart(rows) for rows in together if any(value for row in rows for _, value in row.points)]


def _past_chart(rows: Sequence[Past]) -> Chart:
    name, unit, factor = FIGURES[rows[0].figure]
    scaled = [(row, [(at_s, factor * value) for at_s, value in row.points]) for row in rows]
    x = over_time([at_s for _, points in scaled for at_s, _ in points], WIDTH)
    found = [value for _, points in scaled for _, value in points]
    y = around(found, HEIGHT, 0.0, 1.0) if rows[0].figure == "quality_score" else from_zero(found, HEIGHT)
    series = []
    for number, (row, points) in enumerate(scaled):
        dots = tuple(
            Dot(x.at(at_s), HEIGHT - y.at(value), f"{row.deployment}, {day(at_s)}: {value:.4g}")
            for at_s, value in points
        )
        series.append(Series(row.deployment, number, line(dots), dots))
    table = [(row.deployment, day(at_s), f"{value:.4g}") for row, points in scaled for at_s, value in points]
    ends = [(0.0, day(x.low)), (WIDTH, day(x.high))]
    title = f"{name} · {rows[0].category}"
    head = ("deployment", "run (UTC)", unit)
    return Chart(title, "", unit, ends, upwards(y, "{:g}".format), tuple(series), head, table)
