"""The results beyond the summary: each latency with its intervals, rates and sizes, and what GPU hours compete with."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from slo_bench.cost import BreakEven
from slo_bench.figures import MS_PER_S, UNMEASURED, between, figure, number
from slo_bench.results import CellResult
from slo_bench.rivals import Rivals
from slo_bench.spreads import SHARES, Spread
from slo_bench.stats import CellStats

FIGURES = ("mean", *SHARES)


def latency_table(results: Sequence[CellResult]) -> Table:
    """Four lines per cell; below each figure is its 95 % interval."""
    table = Table("deployment", "category", "", title="Latencies in ms, with 95 % intervals", title_justify="left")
    for name in ("n", "mean", *SHARES):
        table.add_column(name, justify="right")
    for result in results:
        stats, cell = result.stats, result.cell
        for metric, spread in (("TTFT", stats.ttft), ("TPOT", stats.tpot), ("ITL", stats.itl), ("E2E", stats.e2e)):
            figures = (_with_interval(spread, name) for name in FIGURES)
            table.add_row(cell.facts.deployment_id, cell.category, metric, str(spread.n if spread else 0), *figures)
        table.add_section()
    return table


def rate_table(results: Sequence[CellResult]) -> Table:
    """One line per cell."""
    table = Table("deployment", "category", title="Rates and sizes, with 95 % intervals", title_justify="left")
    for name in (
        *("requests/s", "prompt tok/s", "output tok/s", "prompt tok", "cached", "output tok", "reasoning"),
        *("error rate", "SLO met", "goodput/s", "$/1k tokens"),
    ):
        table.add_column(name, justify="right")
    for result in results:
        stats = result.stats
        table.add_row(
            result.cell.facts.deployment_id,
            result.cell.category,
            *(number(rate, ".2f") for rate in (stats.requests_per_s, stats.prompt_tps, stats.throughput_tps)),
            *(number(count, ",") for count in _counts(stats)),
            *_shares(stats),
            number(stats.goodput_rps, ".2f"),
            number(result.cost_per_1k_usd, ".3g"),
        )
    return table


def break_even_table(pairs: Sequence[Rivals]) -> Table:
    """One line per pair."""
    title = "From how many requests per hour a GPU is cheaper than a price per token"
    table = Table("category", "GPU", "priced", title=title, title_justify="left")
    for name in ("GPU $/h", "priced $/request", "break-even requests/h", "tokens/h", "GPU serves requests/h"):
        table.add_column(name, justify="right")
    table.add_column("cheaper")
    for pair in pairs:
        at = pair.at
        table.add_row(
            pair.gpu.cell.category,
            pair.gpu.cell.facts.deployment_id,
            pair.priced.cell.facts.deployment_id,
            f"{at.gpu_usd_per_hour:.2f}",
            f"{at.usd_per_request:.3g}",
            number(at.requests_per_hour, ",.0f"),
            number(at.tokens_per_hour, ",.0f"),
            f"{at.capacity_per_hour:,.0f}",
            _verdict(at),
        )
    return table


def _verdict(at: BreakEven) -> str:
    if at.requests_per_hour is None:
        return "never the GPU: the other is free"
    if at.reachable:
        return f"GPU above {at.requests_per_hour:,.0f} requests/h"
    return f"never the GPU: it saturates at {at.capacity_per_hour:,.0f} requests/h"


def _with_interval(spread: Spread | None, name: str) -> str:
    if spread is None:
        return UNMEASURED
    return f"{figure(spread, name)}\n{between(spread.intervals.get(name), '.1f', MS_PER_S)}"


def _counts(stats: CellStats) -> tuple[int | None, ...]:
    return stats.prompt_tokens, stats.cached_tokens, stats.completion_tokens, stats.reasoning_tokens


def _shares(stats: CellStats) -> tuple[str, str]:
    found = stats.attainment
    errors = f"{number(stats.error_rate, '.1%')}\n{between(stats.error_rate_interval, '.1%')}"
    met = UNMEASURED if found is None else f"{found.share:.1%}\n{between(found.interval, '.1%')}"
    return errors, met
