"""The tables and the bars as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from evaluation.face_off.outcome import Outcome, judge
from evaluation.face_off.proxies import OURS
from evaluation.face_off.summary import Figures, Repeats, bars, best_peer, pooled, spreads
from evaluation.face_off.watch import Shut
from evaluation.face_off.world import PHASES, Phase, PhaseName
from evaluation.shared.results import Aim, Spread

OMNISCIENT = "(omniscient, computed)"
ALL_TO_LARGE = "(all to large, computed)"  # what a team without routing does
Results = Mapping[PhaseName, Mapping[str, Repeats]]  # phase → strategy, or OMNISCIENT → repeats
Played = Sequence[
    Mapping[Phase, Mapping[str, Sequence[Outcome]]]
]  # by repeat; each victim's slowdown and outage separate
TITLES = {
    "steady": "steady",
    "burst": "burst: four times the rate in the middle third",
    "slowdown": "slowdown: one endpoint, each in its turn, six times slower from a tenth on",
    "outage": "outage: one endpoint, each in its turn, answers 500 from a tenth on, hangs from the half on",
    "stall": "stall: the one that serves most holds 3 % of its requests for 5 s, from the half on it freezes for 10 s",
    "mixed": "mixed, where possible: whole answers and streams, three routes, tools, images, unlike verbosity",
    "credit": "credit, where possible: the same, one endpoint, each in its turn, out of credit: 400, 402, 403",
    "verbose": "verbose, where possible: models of one quality that write 0.5, 1, 3 and 8 times as much",
}


def together(played: Played) -> Results:
    """Joins the phases of one name, repeat by repeat."""
    found: dict[PhaseName, dict[str, list[list[Outcome]]]] = {}
    for number, phases in enumerate(played):
        for phase, by_strategy in phases.items():
            of_phase = found.setdefault(phase.name, {})
            for strategy, outcomes in by_strategy.items():
                of_phase.setdefault(strategy, [[] for _ in played])[number].extend(outcomes)
    return found


def where_possible(played: Mapping[str, Sequence[Outcome]]) -> dict[str, list[Outcome]]:
    """One phase without the requests whose contract not even the omniscient router kept."""
    possible = [judge(outcome).kept for outcome in played[OMNISCIENT]]
    return {
        strategy: [outcome for outcome, kept in zip(outcomes, possible, strict=True) if kept]
        for strategy, outcomes in played.items()
    }


def by_victim(played: Played) -> Table:
    """How each strategy kept the contract for each victim, over all repeats."""
    found: dict[Phase, dict[str, list[Sequence[Outcome]]]] = {}
    for phases in played:
        for phase, by_strategy in phases.items():
            for strategy, outcomes in by_strategy.items():
                found.setdefault(phase, {}).setdefault(strategy, []).append(outcomes)
    rows = {phase: by_strategy for phase, by_strategy in found.items() if phase.victim}
    table = Table(title="Contract kept %, USD per 1,000, by the endpoint that it happened to: all repeats")
    table.add_column("strategy", no_wrap=True)
    for phase in rows:
        table.add_column(f"{phase.name}\n{phase.victim}", justify="right")
    for strategy in dict.fromkeys(name for by_strategy in rows.values() for name in by_strategy):
        figures = [pooled(by_strategy[strategy]) for by_strategy in rows.values()]
        said = (f"{100 * row.kept:.0f}, {1_000 * row.cost_usd:.3f}" for row in figures)
        table.add_row(strategy, *said, style="bold" if strategy == OURS else None)
    return table


def tables(results: Results) -> Iterable[Table]:
    """One table for each phase."""
    for phase, by_strategy in results.items():
        table = Table(title=f"{TITLES[phase]}: all repeats (lowest to highest repeat)")
        table.add_column("strategy", no_wrap=True)
        table.add_column("contract kept %", no_wrap=True)
        table.add_column("in time %", no_wrap=True)
        table.add_column("USD per 1,000", no_wrap=True)
        table.add_column("per 1,000 kept", no_wrap=True)
        table.add_column("TTFT p50 ms", no_wrap=True)
        table.add_column("p99 ms", no_wrap=True)
        table.add_column("failed %", no_wrap=True)
        fleet = next(one.fleet for one in PHASES if one.name == phase)
        table.add_column("/".join(deployment.name for deployment in fleet) + " %")
        for strategy, repeats in by_strategy.items():
            scales = (100, 100, 1_000, 1_000, 1_000, 1_000, 100)  # percent, USD per 1,000, milliseconds
            digits = (1, 1, 3, 3, 0, 0, 1)
            row = [_times(one, by).text(n) for one, by, n in zip(spreads(repeats), scales, digits, strict=True)]
            shares = pooled(repeats).answered_by
            split = "/".join(f"{100 * shares.get(deployment.name, 0.0):.0f}" for deployment in fleet)
            table.add_row(strategy, *row, split, style="bold" if strategy == OURS else None)
        yield table


def verdicts(results: Results, shut: Mapping[PhaseName, Sequence[Shut]]) -> list[Aim]:
    """Every bar of every phase in which ours took part. `shut`: the deployments that ours shut without a cause."""
    found = []
    for phase, rows in _by_phase(results).items():
        omniscient, ours, peers = rows
        found += [
            Aim(f"{phase}: {bar.text}", bar.is_kept)
            for bar in bars(phase, ours, peers, omniscient, shut.get(phase, ()))
        ]
    return found


def saved(results: Results) -> dict[str, object]:
    """For docs/evidence.md: each phase, with ours beside LiteLLM's best and the omniscient router."""
    phases, leads_in_time = [], {}
    for phase, (omniscient, ours, peers) in _by_phase(results).items():
        peer = best_peer(peers)[1]
        leads_in_time[phase] = 100 * (ours.in_time - peer.in_time)
        rows = {
            strategy.strip("()").removesuffix(", computed"): spreads(repeats)
            for strategy, repeats in results[phase].items()
        }
        phases.append(
            {
                "phase": phase,
                "lead_points": 100 * (ours.kept - peer.kept),
                "cost_of_peer": ours.cost_usd / peer.cost_usd,
                "omniscient_cost_of_peer": omniscient.cost_usd / peer.cost_usd,
                "cost_of_omniscient": ours.cost_usd / omniscient.cost_usd,
                "lost_percent": {"ours": 100 * ours.failed, "peer": 100 * peer.failed},
                "rows": {
                    name: {"kept_percent": _times(kept, 100), "usd_per_1k": 1_000 * cost_usd.value}
                    for name, (kept, _, cost_usd, *_) in rows.items()
                },
            }
        )
    least = min(leads_in_time, key=lambda phase: leads_in_time[phase])
    return {"phases": phases, "least_lead_in_time": {"phase": least, "points": leads_in_time[least]}}


def _by_phase(results: Results) -> dict[PhaseName, tuple[Figures, Figures, dict[str, Figures]]]:
    """The omniscient router, ours and LiteLLM's strategies, in each phase in which ours took part."""
    found = {}
    for phase, by_strategy in results.items():
        rows = {strategy: pooled(repeats) for strategy, repeats in by_strategy.items() if strategy != ALL_TO_LARGE}
        omniscient, ours = rows.pop(OMNISCIENT), rows.pop(OURS, None)
        if ours is not None:
            found[phase] = (omniscient, ours, rows)
    return found


def _times(spread: Spread, scale: float) -> Spread:
    return Spread(scale * spread.value, scale * spread.lowest, scale * spread.highest)
