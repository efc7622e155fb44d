"""The tables and the bars as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table

from evaluation.face_off.outcome import Outcome
from evaluation.face_off.proxies import OURS
from evaluation.face_off.summary import Bar, Cell, Figures, Repeats, bars, cells, pooled
from evaluation.face_off.world import DEPLOYMENTS, Phase, PhaseName

OMNISCIENT = "(omniscient, computed)"
ALL_TO_LARGE = "(all to large, computed)"  # what teams do that do not route
Results = Mapping[PhaseName, Mapping[str, Repeats]]  # phase → strategy, or OMNISCIENT → repeats
Played = Mapping[Phase, Mapping[str, Repeats]]  # likewise, each endpoint's slowdown and outage apart
TITLES = {
    "steady": "steady",
    "burst": "burst: four times the rate in the middle third",
    "slowdown": "slowdown: one endpoint, each in its turn, six times slower from a tenth on",
    "outage": "outage: one endpoint, each in its turn, answers 500 from a tenth on, hangs from the half on",
}


def together(played: Played) -> Results:
    """Phases of one name as one: repeat by repeat."""
    found: dict[PhaseName, dict[str, list[list[Outcome]]]] = {}
    for phase, by_strategy in played.items():
        of_phase = found.setdefault(phase.name, {})
        for strategy, repeats in by_strategy.items():
            whole = of_phase.setdefault(strategy, [[] for _ in repeats])
            for outcomes, more in zip(whole, repeats, strict=True):
                outcomes.extend(more)
    return found


def by_victim(played: Played) -> Table:
    """Who kept the contract whatever failed: over all repeats."""
    phases = [phase for phase in played if phase.victim]
    table = Table(title="Contract kept %, USD per 1,000, by the endpoint that it happened to: all repeats")
    table.add_column("strategy", no_wrap=True)
    for phase in phases:
        table.add_column(f"{phase.name}\n{phase.victim}", justify="right")
    for strategy in dict.fromkeys(name for phase in phases for name in played[phase]):
        rows = [pooled(played[phase][strategy]) for phase in phases]
        said = (f"{100 * row.kept:.0f}, {1_000 * row.cost_usd:.3f}" for row in rows)
        table.add_row(strategy, *said, style="bold" if strategy == OURS else None)
    return table


def tables(results: Results) -> Iterable[Table]:
    """One table a phase."""
    for phase, by_strategy in results.items():
        table = Table(title=f"{TITLES[phase]}: all repeats (lowest to highest repeat)")
        table.add_column("strategy", no_wrap=True)
        table.add_column("contract kept %", no_wrap=True)
        table.add_column("TTFT kept %", no_wrap=True)
        table.add_column("USD per 1,000", no_wrap=True)
        table.add_column("per 1,000 kept", no_wrap=True)
        table.add_column("TTFT p50 ms", no_wrap=True)
        table.add_column("p99 ms", no_wrap=True)
        table.add_column("failed %", no_wrap=True)
        table.add_column("/".join(deployment.name[0] for deployment in DEPLOYMENTS) + " %", no_wrap=True)
        for strategy, repeats in by_strategy.items():
            scales = (100, 100, 1_000, 1_000, 1_000, 1_000, 100)  # percent, USD per 1,000, milliseconds
            digits = (1, 1, 3, 3, 0, 0, 1)
            row = [_cell(*one) for one in zip(cells(repeats), scales, digits, strict=True)]
            split = "/".join(f"{100 * share:.0f}" for share in pooled(repeats).answered_by)
            table.add_row(strategy, *row, split, style="bold" if strategy == OURS else None)
        yield table


def verdicts(results: Results) -> list[tuple[PhaseName, Bar]]:
    """Every bar of every phase in which we took part."""
    found = []
    for phase, by_strategy in results.items():
        rows: dict[str, Figures] = {strategy: pooled(repeats) for strategy, repeats in by_strategy.items()}
        omniscient, ours = rows.pop(OMNISCIENT), rows.pop(OURS, None)
        rows.pop(ALL_TO_LARGE, None)
        if ours is not None:
            found += [(phase, bar) for bar in bars(phase, ours, rows, omniscient)]
    return found


def _cell(cell: Cell, scale: float, digits: int) -> str:
    value, low, high = (f"{scale * number:.{digits}f}" for number in cell)
    return value if low == high else f"{value} ({low}–{high})"
