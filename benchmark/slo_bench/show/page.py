"""The report as one HTML page: tables of what was measured, and plots with their numbers."""

from __future__ import annotations

from pathlib import Path

from slo_bench.gate.entry import Entry
from slo_bench.show.plots import past_plots, rate_plots, value_plots
from slo_bench.show.rows import Page
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


def _latency_row(entry: Entry) -> tuple[str, ...]:
    found = entry.figures.get
    errors, times_s = found("error_rate"), map(found, ("ttft_p50_s", "ttft_p95_s", "tpot_p50_s", "e2e_p50_s"))
    return (
        entry.deployment,
        entry.category,
        minute(entry.at_s),
        str(entry.n),
        number(None if errors is None else 100 * errors, ".1f", " %"),
        *map(ms, times_s),
        number(found("throughput_tps"), ".1f"),
        number(found("cost_per_1k_usd"), ".3g"),
    )
