"""An overview of the history: one line per figure of each cell, with its course and its last step.

↑ ↓   the last run differs from the one before by more than chance       →  it does not       blank: unknown
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from slo_bench.gate.comparison import compare
from slo_bench.gate.entry import QUALITY, Entry
from slo_bench.summary.figures import table as empty_table
from slo_router.contract.units import minute

SHOWN = (QUALITY, "ttft_p50_s", "tpot_p50_s", "e2e_p50_s", "throughput_tps", "error_rate", "cost_per_1k_usd")
COURSE = 24  # runs in a sparkline
_BARS = "▁▂▃▄▅▆▇█"


class Line(NamedTuple):
    """One figure of one cell; `values` are oldest first, `None` where a run could not measure it."""

    last: Entry
    figure: str
    runs: int
    values: Sequence[float | None]
    step: str


def lines(entries: Sequence[Entry]) -> list[Line]:
    """The lines of one cell, whose entries come oldest first."""
    if not entries:
        return []
    last = entries[-1]
    steps: dict[str, str] = {}
    if len(entries) > 1:
        for row in compare(entries[-2], last):
            up = "↑" if row.difference > 0 else "↓"
            steps[row.figure] = "" if row.told_apart is None else up if row.told_apart else "→"
    course = entries[-COURSE:]
    return [
        Line(last, name, len(entries), [entry.figures.get(name) for entry in course], steps.get(name, ""))
        for name in SHOWN
        if name in last.figures
    ]


def sparkline(values: Sequence[float | None]) -> str:
    """One bar per value, scaled from the least to the largest; a dot where unmeasured."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    middle = 0 if scale else len(_BARS) // 2
    return "".join("·" if value is None else _BARS[middle + round((value - low) * scale)] for value in values)


def table(found: Sequence[Line]) -> Table:
    """The overview as a table."""
    columns = (">runs", "last run (UTC)", ">last", "", "course", "against the last good runs")
    title = "Last runs; an arrow is a step beyond chance"
    shown = empty_table("deployment", "category", "figure", *columns, title=title)
    for line in found:
        shown.add_row(
            line.last.deployment,
            line.last.category,
            line.figure,
            str(line.runs),
            minute(line.last.at_s),
            f"{line.values[-1]:.4g}",
            line.step,
            sparkline(line.values),
            (line.last.verdict or "") if line.figure == QUALITY else "",
        )
    return shown
