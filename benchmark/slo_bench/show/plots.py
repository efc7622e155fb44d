"""The plots of what was measured: latency against rate, quality against cost, and the course of each figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from slo_bench.show.rows import Past, RatePoint, Value, pareto_front
from slo_bench.summary.figures import UNMEASURED, ms
from slo_router.contract.units import MS_PER_S, minute
from slo_router.html_report.plot import Plot, Point, Series

Row = TypeVar("Row")
Key = TypeVar("Key")

# A figure of the history: its title, its unit, and what its values are multiplied by.
FIGURES = {
    "quality_score": ("Quality", "0 to 1", 1.0),
    "ttft_p50_s": ("TTFT, median", "ms", MS_PER_S),
    "e2e_p50_s": ("Whole answer, median", "ms", MS_PER_S),
    "cost_per_1k_usd": ("Cost", "USD per 1,000 tokens", 1.0),
    "error_rate": ("Errors", "% of the requests", 100.0),
}

MOST_DOTS = 40  # of a line: more would hide it


def rate_plots(points: Iterable[RatePoint]) -> list[Plot]:
    """TTFT against the rate, one plot per deployment and one line per prompt length. Both axes are logarithmic."""
    return [_rate_plot(name, rows) for name, rows in _grouped(points, lambda point: point.deployment)]


def _rate_plot(deployment: str, points: Sequence[RatePoint]) -> Plot:
    ordered = sorted(points, key=lambda point: (point.prompt_tokens, point.rate_per_s))
    series = [
        Series(f"{tokens} prompt tokens", [Point(p.rate_per_s, MS_PER_S * p.ttft_p95_s) for p in rows if p.ttft_p95_s])
        for tokens, rows in _grouped(ordered, lambda point: point.prompt_tokens)
    ]
    table = [
        (
            *(f"{p.prompt_tokens}", f"{p.rate_per_s:.3g}"),
            *map(ms, (p.ttft_p50_s, p.ttft_p95_s)),
            *(f"{p.attained:.0%}", p.saturated or ""),
        )
        for p in ordered
    ]
    head = ("prompt tokens", "requests/s", "TTFT p50 ms", "TTFT p95 ms", "SLO kept", "saturated")
    return Plot(deployment, "requests per second", "TTFT p95, ms", series, "log", "log", head=head, rows=table)


def value_plots(values: Iterable[Value]) -> list[Plot]:
    """Quality against cost, one plot per category, with its Pareto front."""
    return [_value_plot(name, tuple(rows)) for name, rows in _grouped(values, lambda value: value.category)]


def _value_plot(category: str, values: tuple[Value, ...]) -> Plot:
    edge = min((value.cost_per_1k_usd for value in values if value.cost_per_1k_usd > 0), default=1.0) / 2

    def point(value: Value) -> Point:
        cost_usd = value.cost_per_1k_usd if value.cost_per_1k_usd > 0 else edge  # a logarithmic axis has no 0
        return Point(cost_usd, value.quality, value.deployment, value.low, value.high)

    front = pareto_front(values)
    rest = [point(value) for value in values if value not in front]
    # Between two points of the front no deployment is better than the cheaper one, so the line is a step.
    series = [Series("Pareto front", [point(value) for value in front], "step-after")]
    table = [
        (
            *(v.deployment, f"{v.cost_per_1k_usd:.3g}", f"{v.quality:.3f}"),
            UNMEASURED if v.low is None or v.high is None else f"{v.low:.3f} to {v.high:.3f}",
            *(str(v.answers), "yes" if v in front else ""),
        )
        for v in sorted(values, key=lambda value: value.cost_per_1k_usd)
    ]
    return Plot(
        category,
        "USD per 1,000 tokens",
        "quality",
        [*series, Series("others", rest, None)] if rest else series,
        x_axis="log",
        from_zero=False,
        head=("deployment", "USD per 1,000 tokens", "quality", "95 % interval", "answers", "on the front"),
        rows=table,
    )


def past_plots(past: Iterable[Past]) -> Iterator[Plot]:
    """One plot per figure and category, with one line per deployment. A figure that was always 0 has no plot."""
    known = [one for one in past if one.figure in FIGURES and len(one.points) > 1]
    order = list(FIGURES)
    ordered = sorted(known, key=lambda one: (one.category, order.index(one.figure)))
    for (category, figure), rows in _grouped(ordered, lambda one: (one.category, one.figure)):
        name, unit, factor = FIGURES[figure]
        series = [Series(row.deployment, [Point(at_s, factor * y) for at_s, y in row.points]) for row in rows]
        if any(point.y for one in series for point in one.points):
            table = [(one.name, minute(point.x), f"{point.y:.4g}") for one in series for point in one.points]
            yield Plot(
                f"{name} · {category}",
                "",
                unit,
                series,
                from_zero=figure != "quality_score",
                has_dots=all(len(one.points) <= MOST_DOTS for one in series),
                head=("deployment", "run (UTC)", unit),
                rows=table,
            )


def _grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> list[tuple[Key, list[Row]]]:
    """Rows with the same key together, in the order in which the keys first appear."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())
