"""How often the agent's 95 % intervals hold the truth, on latencies as they are: skewed, and alike within a request.

    python -m evaluation.agent.interval_coverage [--runs 4000] [--seed 0]

Latencies are log-normal with sigma 0.6, so that the p99 is four times the p50. All gaps of one request also share a
random factor (sigma 0.3). So 30 gaps of one request say less than 30 requests.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from evaluation.shared.results import Save, save
from slo_bench.summary.percentiles import (
    grouped_mean_interval,
    grouped_percentile_interval,
    mean_interval,
    percentile_interval,
)
from slo_router.contract.intervals import Interval, wilson

SIGMA, BETWEEN, GAPS = 0.6, 0.3, 30
SIZES = (10, 40, 100, 400)
SHARES = (0.5, 0.9, 0.95, 0.99)
Draw = Callable[[random.Random, int], Interval | None]


def quantile(share: float, sigma: float) -> float:
    """A quantile of a log-normal distribution with median 1."""
    return math.exp(sigma * NormalDist().inv_cdf(share))


def coverage(draw: Draw, truth: float, n: int, runs: int, seed: int) -> tuple[float, float] | None:
    """The share of intervals that hold the truth, and of runs that had an interval; `None` if no run had one."""
    rng = random.Random(seed)
    found = [draw(rng, n) for _ in range(runs)]
    known = [interval for interval in found if interval is not None]
    if not known:
        return None
    return sum(low <= truth <= high for low, high in known) / len(known), len(known) / runs


def values(rng: random.Random, n: int) -> list[float]:
    """Latencies of `n` requests, ascending."""
    return sorted(rng.lognormvariate(0, SIGMA) for _ in range(n))


def groups(rng: random.Random, n: int) -> list[Sequence[float]]:
    """Gaps of `n` requests, ascending within each request."""
    return [
        sorted(factor * rng.lognormvariate(0, SIGMA) for _ in range(GAPS))
        for factor in (rng.lognormvariate(0, BETWEEN) for _ in range(n))
    ]


def estimates() -> Iterator[tuple[str, Draw, float]]:
    """Name of each estimate, how its interval is drawn, and the truth that the interval should hold."""
    both = math.hypot(SIGMA, BETWEEN)
    yield "mean", lambda rng, n: mean_interval(values(rng, n)), math.exp(SIGMA**2 / 2)
    for p in SHARES:
        yield f"p{p * 100:g}", lambda rng, n: percentile_interval(values(rng, n), p), quantile(p, SIGMA)  # noqa: B023
    yield "mean of gaps", lambda rng, n: grouped_mean_interval(groups(rng, n)), math.exp(both**2 / 2)
    for p in SHARES:
        draw: Draw = lambda rng, n: grouped_percentile_interval(groups(rng, n), p)  # noqa: B023, E731
        yield f"p{p * 100:g} of gaps", draw, quantile(p, both)
    for p in (0.01, 0.1, 0.5):
        yield f"rate {p}", lambda rng, n: wilson(sum(rng.random() < p for _ in range(n)), n), p  # noqa: B023


def cell(found: tuple[float, float] | None) -> str:
    """The share of intervals that hold the truth; also the share of runs with an interval, if not all had one."""
    return "none" if found is None else f"{found[0]:.1%}" + (f" of {found[1]:.0%}" if found[1] < 1 else "")


def main(runs: Annotated[int, typer.Option(min=100)] = 4_000, seed: int = 0, *, is_saved: Save = False) -> None:
    """How often the agent's 95 % intervals hold the truth."""
    table = Table("95 % interval of the", title=f"Share of intervals that hold the truth, {runs} runs (gaps: a tenth)")
    for size in SIZES:
        table.add_column(f"n = {size}", justify="right")
    rows = {
        name: [coverage(draw, truth, n, runs // 10 if "gaps" in name else runs, seed) for n in SIZES]
        for name, draw, truth in estimates()
    }
    for name, row in rows.items():
        table.add_row(name, *map(cell, row))
    Console(width=100).print(table)
    if is_saved:
        held = {name: [None if one is None else 100 * one[0] for one in row] for name, row in rows.items()}
        save({"runs": runs, "sizes": SIZES, "held_percent": held})


if __name__ == "__main__":
    typer.run(main)
