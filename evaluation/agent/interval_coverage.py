"""How often the agent's 95 % intervals hold the truth, on latencies as they are: skewed, and alike within a request.

    python -m evaluation.agent.interval_coverage [--runs 4000] [--seed 0]

Latencies are log-normal with sigma 0.6, so that the p99 is four times the p50. Gaps have a factor of their own in each
request beside that (sigma 0.3): 30 gaps of one request say less than 30 requests.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

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
    """Of a log-normal distribution of median 1."""
    return math.exp(sigma * NormalDist().inv_cdf(share))


def coverage(draw: Draw, truth: float, n: int, runs: int, seed: int) -> tuple[float, float] | None:
    """The share of intervals that hold the truth, and the share of runs that had one; `None` where none had."""
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
    """Gaps of `n` requests, ascending in each."""
    return [
        sorted(factor * rng.lognormvariate(0, SIGMA) for _ in range(GAPS))
        for factor in (rng.lognormvariate(0, BETWEEN) for _ in range(n))
    ]


def rows(runs: int, seed: int) -> list[tuple[str, list[str]]]:
    """A line per estimate, a cell per size."""
    both = math.hypot(SIGMA, BETWEEN)
    estimates: list[tuple[str, Draw, float]] = [
        ("mean", lambda rng, n: mean_interval(values(rng, n)), math.exp(SIGMA**2 / 2)),
        *(
            (
                f"p{share * 100:g}",
                lambda rng, n, p=share: percentile_interval(values(rng, n), p),
                quantile(share, SIGMA),
            )
            for share in SHARES
        ),
        ("mean of gaps", lambda rng, n: grouped_mean_interval(groups(rng, n)), math.exp(both**2 / 2)),
        *(
            (
                f"p{share * 100:g} of gaps",
                lambda rng, n, p=share: grouped_percentile_interval(groups(rng, n), p),
                quantile(share, both),
            )
            for share in SHARES
        ),
        *(
            (f"rate {rate}", lambda rng, n, p=rate: wilson(sum(rng.random() < p for _ in range(n)), n), rate)
            for rate in (0.01, 0.1, 0.5)
        ),
    ]
    table = []
    for name, draw, truth in estimates:
        few = runs // 10 if "gaps" in name else runs
        cells = (coverage(draw, truth, n, few, seed) for n in SIZES)
        table.append(
            (
                name,
                [
                    "none" if cell is None else f"{cell[0]:.1%}" + (f" of {cell[1]:.0%}" if cell[1] < 1 else "")
                    for cell in cells
                ],
            )
        )
    return table


def main(runs: Annotated[int, typer.Option(min=100)] = 4_000, seed: int = 0) -> None:
    """Prints the table."""
    table = Table("95 % interval of the", title=f"Share of intervals that hold the truth, {runs} runs (gaps: a tenth)")
    for size in SIZES:
        table.add_column(f"n = {size}", justify="right")
    for name, cells in rows(runs, seed):
        table.add_row(name, *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
