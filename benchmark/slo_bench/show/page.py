"""The report as one HTML page: tables of what was measured, and plots with their numbers."""

from __future__ import annotations

from pathlib import Path

from slo_bench.show.plots import past_plots, rate_plots, value_plots
from slo_bench.show.rows import Latency, Page
from slo_bench.summary.figures import ms, number
from slo_router.contract.units import minute
from slo_router.html_report.page import templates

LATENCY_HEAD = (
    *("deployment", "category", "measured (UTC)", "requests", "errors", "TTFT p50 ms", "p95", "TPOT p50 ms"),
    *("E2E p50 ms", "tok/s", "USD per 1,000"),
)


def as_html(page: Page) -> str:
    """The whole page."""
    return (
        templates(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(
            title=page.title,
            page=page,
            latency_head=LATENCY_HEAD,
            latency_rows=[_latency_row(row) for row in page.latencies],
            values=value_plots(page.values),
            rates=rate_plots(page.rates),
            past=list(past_plots(page.past)),
        )
    )


def _latency_row(row: Latency) -> tuple[str, ...]:
    return (
        row.deployment,
        row.category,
        minute(row.at_s),
        str(row.requests),
        number(None if row.error_rate is None else 100 * row.error_rate, ".1f", " %"),
        *map(ms, (row.ttft_p50_s, row.ttft_p95_s, row.tpot_p50_s, row.e2e_p50_s)),
        number(row.throughput_tps, ".1f"),
        number(row.cost_per_1k_usd, ".3g"),
    )
