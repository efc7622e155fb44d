"""The plots of what was measured last: latency against rate, and quality against cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from slo_bench.show.chart import HEIGHT, WIDTH, Chart, Dot, Series, grouped, line, upwards
from slo_bench.show.rows import RatePoint, Value, pareto_front
from slo_bench.show.scale import around, logarithmic, written
from slo_router.contract.units import MS_PER_S


def rate_charts(points: Iterable[RatePoint]) -> list[Chart]:
    """TTFT against the rate, one plot per deployment and one line per prompt length."""
    return [_rate_chart(name, rows) for name, rows in grouped(points, lambda point: point.deployment)]


def _rate_chart(deployment: str, points: Sequence[RatePoint]) -> Chart:
    told = [(p, MS_PER_S * p.ttft_p95_s) for p in points if p.ttft_p95_s and p.rate_per_s > 0]
    x = logarithmic([point.rate_per_s for point, _ in told] or [1.0], WIDTH)
    y = logarithmic([ms for _, ms in told] or [1.0], HEIGHT)
    series = []
    for number, (tokens, rows) in enumerate(grouped(told, lambda one: one[0].prompt_tokens)):
        ordered = sorted(rows, key=lambda row: row[0].rate_per_s)
        dots = tuple(
            Dot(x.at(p.rate_per_s), HEIGHT - y.at(ms), f"{tokens} tokens, {p.rate_per_s:.3g}/s: {ms:.0f} ms")
            for p, ms in ordered
        )
        series.append(Series(f"{tokens} prompt tokens", number, line(dots), dots))
    table = [
        (
            *(f"{p.prompt_tokens}", f"{p.rate_per_s:.3g}", _ms(p.ttft_p50_s), _ms(p.ttft_p95_s)),
            *(f"{p.attained:.0%}", p.saturated or ""),
        )
        for p in sorted(points, key=lambda point: (point.prompt_tokens, point.rate_per_s))
    ]
    head = ("prompt tokens", "requests/s", "TTFT p50 ms", "TTFT p95 ms", "SLO kept", "saturated")
    ticks = written(x.ticks(), x, "{:g}".format), upwards(y, "{:g}".format)
    return Chart(deployment, "requests per second", "TTFT p95, ms", *ticks, tuple(series), head, table)


def value_charts(values: Iterable[Value]) -> list[Chart]:
    """Quality against cost, one plot per category, with the line that no deployment is beyond."""
    return [_value_chart(name, tuple(rows)) for name, rows in grouped(values, lambda value: value.category)]


def _value_chart(category: str, values: tuple[Value, ...]) -> Chart:
    paid = [value.cost_per_1k_usd for value in values if value.cost_per_1k_usd > 0]
    x = logarithmic(paid or [1.0], WIDTH)
    y = around([q for v in values for q in (v.quality, v.low, v.high) if q is not None], HEIGHT, 0.0, 1.0)

    def dot(value: Value) -> Dot:
        ends = [None if end is None else HEIGHT - y.at(end) for end in (value.low, value.high)]
        place = x.at(value.cost_per_1k_usd) if value.cost_per_1k_usd > 0 else 0.0  # what is free stands at the edge
        title = f"{value.deployment}: {value.quality:.3f} at {value.cost_per_1k_usd:.3g} USD"
        return Dot(place, HEIGHT - y.at(value.quality), title, value.deployment, *ends)

    front = pareto_front(values)
    rest = tuple(dot(value) for value in values if value not in front)
    on_front = tuple(dot(value) for value in front)
    series = (Series("Pareto front", 0, _stairs(on_front), on_front), Series("others", 1, "", rest))
    table = [
        (
            *(v.deployment, f"{v.cost_per_1k_usd:.3g}", f"{v.quality:.3f}"),
            *(_between(v), str(v.answers), "yes" if v in front else ""),
        )
        for v in sorted(values, key=lambda value: value.cost_per_1k_usd)
    ]
    head = ("deployment", "USD per 1,000 tokens", "quality", "95 % interval", "answers", "on the front")
    ticks = written(x.ticks(), x, "{:g}".format), upwards(y, "{:g}".format)
    return Chart(category, "USD per 1,000 tokens", "quality", *ticks, series if rest else series[:1], head, table)


def _stairs(dots: Sequence[Dot]) -> str:
    """From each to the next first to the right, then up: in between nothing better is to be had."""
    corners = [f"{right.x:.1f},{left.y:.1f}" for left, right in pairwise(dots)]
    places = [f"{dot.x:.1f},{dot.y:.1f}" for dot in dots]
    return " ".join(place for pair in zip(places, [*corners, ""], strict=True) for place in pair).strip()


def _between(value: Value) -> str:
    return "–" if value.low is None or value.high is None else f"{value.low:.3f} to {value.high:.3f}"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{MS_PER_S * seconds:.1f}"
