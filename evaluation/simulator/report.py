"""The tables."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.table import Table

from evaluation.simulator import tally
from evaluation.simulator.bars import Bar, Runs
from evaluation.simulator.tally import Estimate, Statistic, estimate

COLUMNS: tuple[tuple[str, Statistic], ...] = (
    ("contract kept, %\nwhere possible", tally.attainment),
    ("contract kept, %\nof all", tally.kept_of_all),
    ("in time, %\nwhere possible", tally.in_time),
    ("failed, %\nof answerable", tally.failed),
    ("cost ÷\nclairvoyant", tally.cost),
    ("calibration\nerror", tally.calibration_error),
    ("p95 coverage\n%", tally.coverage),
    ("misjudged\n%", tally.misjudged),
    ("shut without\ncause", tally.shut),
)


def policies_table(scenario: str, runs: Runs) -> Table:
    """One row a policy."""
    table = Table("policy", *(title for title, _ in COLUMNS), title=scenario)
    for name, tallies in runs.items():
        cells = (_cell(estimate(tallies, statistic), percent="%" in title) for title, statistic in COLUMNS)
        table.add_row(name, *cells, style="bold" if name == "ours" else None)
    return table


def bars_table(bars: Iterable[tuple[str, Bar]]) -> Table:
    """One row a promise."""
    table = Table("scenario", "promise", "found", "limit", "", title="bars")
    for scenario, bar in bars:
        limits = [f"≥ {bar.low:g}"] * (bar.low > -math.inf) + [f"≤ {bar.high:g}"] * (bar.high < math.inf)
        verdict = "[green]kept" if bar.kept else "[red]missed"
        table.add_row(scenario, bar.text, _cell(bar.found, digits=3), " and ".join(limits), verdict)
    return table


def reaction_line(runs: Runs) -> str | None:
    """How ours reacts to a fault, `None` where there was none."""
    ours = runs["ours"]
    if not any("runs" in one for one in ours):
        return None
    sent, back = (
        estimate(ours, tally.ratio("sent_to_faulty", "during")),
        estimate(ours, tally.ratio("return_s", "runs")),
    )
    return (
        f"ours sent {_cell(sent, percent=True)} % of the requests after the fault's first second to the faulty "
        f"endpoint;\nits first answer in time came {_cell(back)} s after the fault's end"
    )


def _cell(found: Estimate, *, percent: bool = False, digits: int = 2) -> str:
    if math.isnan(found.value):
        return "–"
    scale, digits = (100, 1) if percent else (1, digits)
    return f"{found.value * scale:.{digits}f} ± {found.half_width * scale:.{digits}f}"
