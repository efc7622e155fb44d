"""The report's tables as text, for the terminal and the HTML page. A column whose name starts with `>` has numbers."""

from __future__ import annotations

from typing import NamedTuple

from slo_router.operator.commands.terminal import between, number, percent, usd
from slo_router.operator.reporting.rows import QualityRow, Report, Row

COLUMNS = (">requests", ">share", ">spent", ">saved", ">SLO kept", ">quality", ">at least", ">TTFT p50/p95", ">errors")


class Table(NamedTuple):
    """A title, the columns' names, and rows."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(made: Report) -> list[Table]:
    """The tables by deployment and category, by team if there are several, and that of the qualities."""
    parts = {"deployment": made.deployments, "category": made.categories}
    parts |= {"team": made.teams} if len(made.teams) > 1 else {}
    quality = ("deployment", "category", ">requests", ">configured", ">measured", ">mean", ">at least", "known from")
    return [
        *(Table(f"By {name}", (name, *COLUMNS), [_row(row) for row in rows]) for name, rows in parts.items()),
        Table("Quality and its evidence", quality, [_quality(row) for row in made.quality]),
    ]


def _row(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.requests:,}",
        percent(row.share),
        usd(row.spent_usd) + (f" + {row.unpriced:,} unknown" if row.unpriced else ""),
        percent(row.saved_share),
        percent(row.attainment),
        number(row.quality, 3),
        number(row.quality_bound, 3),
        f"{number(row.ttft_p50_ms)}/{number(row.ttft_p95_ms)} ms",
        f"{row.errors:,}",
    )


def _quality(row: QualityRow) -> tuple[str, ...]:
    answers = row.measured_answers
    evidence = "" if answers is None else f" ({answers} answers, {between(row.measured_interval)})"
    measured = number(row.measured, 3) + evidence
    believed = number(row.mean, 3), number(row.bound, 3), "records" if row.is_recorded else "now"
    return row.deployment, row.category, f"{row.requests:,}", number(row.configured, 3), measured, *believed
