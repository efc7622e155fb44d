"""The page's rows: the newest run of each cell, the course of all runs, and sweeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from slo_bench.gate.entry import Entry
from slo_bench.gate.history import HistoryCell
from slo_bench.gate.latency import latency_entry
from slo_bench.load.plan import Limits
from slo_bench.show.plots import FIGURES
from slo_bench.show.rows import Past, RatePoint, Value
from slo_bench.summary.results import CellResult
from slo_bench.sweep.course import Swept
from slo_router.contract.intervals import mean_interval

QUALITY = "quality_score"

Histories = Mapping[HistoryCell, Sequence[Entry]]  # oldest run first


def histories_of(results: Iterable[CellResult], limits: Limits) -> Histories:
    """The results of one run in the form of a history."""
    entries = [latency_entry(result, limits) for result in results if result.measured]
    return {HistoryCell(entry.kind, entry.deployment, entry.category): [entry] for entry in entries}


def latencies(histories: Histories) -> tuple[Entry, ...]:
    """The last run of each cell."""
    return tuple(entries[-1] for cell, entries in histories.items() if cell.kind == "latency" and entries)


def values(histories: Histories) -> tuple[Value, ...]:
    """The cells with both a cost from their last run and a quality from their last suite."""
    found: list[Value] = []
    for cell, entries in histories.items():
        paid = histories.get(cell._replace(kind="latency"))
        if cell.kind != "quality" or not entries or not paid:
            continue
        cost, quality = paid[-1].figures.get("cost_per_1k_usd"), entries[-1].figures.get(QUALITY)
        if cost is not None and quality is not None:
            low, high = mean_interval(list(entries[-1].scores.values())) or (None, None)
            found.append(Value(cell.deployment, cell.category, cost, quality, low, high, entries[-1].n))
    return tuple(found)


def courses(histories: Histories) -> tuple[Past, ...]:
    """The course of every figure that the page plots."""
    return tuple(
        Past(cell.deployment, cell.category, figure, points)
        for cell, entries in histories.items()
        for figure in FIGURES
        if (points := tuple((one.at_s, one.figures[figure]) for one in entries if figure in one.figures))
    )


def rates_of(found: Iterable[Swept]) -> tuple[RatePoint, ...]:
    """The steps of sweeps, without those that send one request at a time and so have no rate."""
    return tuple(
        RatePoint(
            swept.deployment_id,
            one.step.length,
            one.step.asked_per_s,
            one.figures.ttft_p50_s,
            one.figures.ttft_p95_s,
            one.figures.attained,
            one.saturated,
        )
        for swept in found
        for one in swept.judged
        if one.step.asked_per_s > 0
    )
