"""The report as one HTML page with its plots inside: nothing is loaded from elsewhere, and no script runs.

Plots are SVG shapes; colours follow the reader's light or dark setting. Each plot has its numbers in a table, for those
who cannot see it and for those who want them.
"""

from __future__ import annotations

from pathlib import Path

from slo_bench.show.chart import COLOURS, HEIGHT, WIDTH, day
from slo_bench.show.courses import past_charts
from slo_bench.show.plots import rate_charts, value_charts
from slo_bench.show.rows import Latency, Page
from slo_router.contract.units import MS_PER_S

TEMPLATE = "page.html.j2"
LATENCY_HEAD = (
    *("deployment", "category", "measured (UTC)", "requests", "errors", "TTFT p50 ms", "p95", "TPOT p50 ms"),
    *("E2E p50 ms", "tok/s", "USD per 1,000"),
)


def as_html(page: Page) -> str:
    """The whole page."""
    # Imported here because few commands need it, and it takes a tenth of a second.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(day=day, latency_row=_latency_row)
    return environment.get_template(TEMPLATE).render(
        page=page,
        rates=rate_charts(page.rates),
        values=value_charts(page.values),
        past=past_charts(page.past),
        latency_head=LATENCY_HEAD,
        width=WIDTH,
        height=HEIGHT,
        colours=COLOURS,
    )


def _latency_row(row: Latency) -> tuple[str, ...]:
    return (
        row.deployment,
        row.category,
        day(row.at_s),
        str(row.requests),
        _number(row.error_rate, 100, ".1f", " %"),
        *(_number(value, MS_PER_S, ".1f") for value in (row.ttft_p50_s, row.ttft_p95_s, row.tpot_p50_s, row.e2e_p50_s)),
        _number(row.throughput_tps, 1, ".1f"),
        _number(row.cost_per_1k_usd, 1, ".3g"),
    )


def _number(value: float | None, factor: float, form: str, unit: str = "") -> str:
    return "–" if value is None else format(factor * value, form) + unit
