"""The tables beyond the summary: latencies with intervals, rates, tokens, and the break-even of GPU hours."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from slo_bench.summary.cost import BreakEven
from slo_bench.summary.figures import UNMEASURED, between, figure, number, table
from slo_bench.summary.results import CellResult
from slo_bench.summary.rivals import Rivals
from slo_bench.summary.spreads import SHARES, Spread
from slo_router.contract.intervals import Interval
from slo_router.contract.units import MS_PER_S

FIGURES = ("mean", *SHARES)


def latency_table(results: Sequence[CellResult]) -> Table:
    """Four lines per cell; below each figure is its 95 % interval."""
    columns = (f">{name}" for name in ("n", *FIGURES))
    made = table("deployment", "category", "", *columns, title="Latencies in ms, with 95 % intervals")
    for result in results:
        stats, cell = result.stats, result.cell
        for metric, spread in (("TTFT", stats.ttft), ("TPOT", stats.tpot), ("ITL", stats.itl), ("E2E", stats.e2e)):
            figures = (_with_interval(spread, name) for name in FIGURES)
            made.add_row(cell.facts.name, cell.category, metric, str(spread.n if spread else 0), *figures)
        made.add_section()
    return made


def rate_table(results: Sequence[CellResult]) -> Table:
    """One line per cell; below each share is its 95 % interval."""
    columns = (">requests/s", ">prompt tok/s", ">output tok/s", ">errors", ">SLO met", ">goodput requests/s")
    made = table("deployment", "category", *columns, title="Rates, with 95 % intervals")
    for result in results:
        stats, found = result.stats, result.stats.attainment
        made.add_row(
            result.cell.facts.name,
            result.cell.category,
            *(number(rate, ".2f") for rate in (stats.requests_per_s, stats.prompt_tps, stats.throughput_tps)),
            _share(stats.error_rate, stats.error_rate_interval),
            _share(found.share, found.interval) if found else UNMEASURED,
            number(stats.goodput_rps, ".2f"),
        )
    return made


def size_table(results: Sequence[CellResult]) -> Table:
    """One line per cell: tokens of its successes, and what they cost."""
    columns = (">prompt", ">of them cached", ">output", ">of them reasoning", ">$/1k tokens")
    made = table("deployment", "category", *columns, title="Tokens and their cost")
    for result in results:
        stats = result.stats
        counts = (stats.prompt_tokens, stats.cached_tokens, stats.completion_tokens, stats.reasoning_tokens)
        made.add_row(
            result.cell.facts.name,
            result.cell.category,
            *(number(count, ",") for count in counts),
            number(result.cost_per_1k_usd, ".3g"),
        )
    return made


def break_even_table(pairs: Sequence[Rivals]) -> Table:
    """One line per pair."""
    title = "From how many requests per hour a GPU is cheaper than a price per token"
    columns = (">GPU $/h", ">priced $/request", ">break-even requests/h", ">tokens/h", "the GPU is cheaper")
    made = table("category", "GPU", "priced", *columns, title=title)
    for pair in pairs:
        at = pair.at
        made.add_row(
            pair.gpu.cell.category,
            pair.gpu.cell.facts.name,
            pair.priced.cell.facts.name,
            f"{at.gpu_usd_per_hour:.2f}",
            f"{at.usd_per_request:.3g}",
            number(at.requests_per_hour, ",.0f"),
            number(at.tokens_per_hour, ",.0f"),
            _verdict(at),
        )
    return made


def _verdict(at: BreakEven) -> str:
    if at.requests_per_hour is None:
        return "never: the other is free"
    if at.reachable:
        return f"from there to {at.capacity_per_hour:,.0f} requests/h"
    return f"never: it saturates at {at.capacity_per_hour:,.0f} requests/h"


def _with_interval(spread: Spread | None, name: str) -> str:
    if spread is None:
        return UNMEASURED
    return f"{figure(spread, name)}\n{between(spread.intervals.get(name), '.1f', MS_PER_S)}"


def _share(share: float | None, interval: Interval | None) -> str:
    return f"{number(share, '.1%')}\n{between(interval, '.1%')}"
