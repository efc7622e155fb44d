"""The rows of numbers that the page is made from. Seconds and USD; `None` is unmeasured."""

from __future__ import annotations

from typing import NamedTuple

from slo_bench.gate.entry import Entry


class RatePoint(NamedTuple):
    """One step of a sweep. `saturated` says how, `None` where the deployment kept up."""

    deployment: str
    prompt_tokens: int
    rate_per_s: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    attained: float  # 0..1 of the requests kept the SLO
    saturated: str | None = None


class Value(NamedTuple):
    """Quality (0..1) and price of one deployment in one category."""

    deployment: str
    category: str
    cost_per_1k_usd: float
    quality: float
    low: float | None  # of its 95 % interval
    high: float | None
    answers: int


class Past(NamedTuple):
    """One figure of one cell over time."""

    deployment: str
    category: str
    figure: str
    points: tuple[tuple[float, float], ...]  # Unix seconds and value, oldest first


class Page(NamedTuple):
    """The whole report."""

    title: str
    made_at_s: float
    latencies: tuple[Entry, ...] = ()  # the last run of each cell
    rates: tuple[RatePoint, ...] = ()
    values: tuple[Value, ...] = ()
    past: tuple[Past, ...] = ()


def pareto_front(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The deployments of one category that no other beats: none is at least as good for less. Cheapest first."""
    front: list[Value] = []
    for one in sorted(values, key=lambda value: (value.cost_per_1k_usd, -value.quality)):
        if not front or one.quality > front[-1].quality:
            front.append(one)
    return tuple(front)
