"""Routing policies in virtual time: who keeps the contracts, at what cost, and whether our promises hold.

python -m evaluation.simulator [--seeds 4] [--scenario steady] [--trace FILE]

The plugin's constants were chosen on seeds from 100 on (`--first-seed 100`). Published figures use seeds from 0 on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from evaluation.shared.data import TRAFFIC
from evaluation.shared.results import OPTION, Aim, Save, save
from evaluation.simulator.report import Runs, bars, bars_table, policies_table, reaction_line, saved
from evaluation.simulator.scenarios import BY_NAME
from evaluation.simulator.study import Study, Task, study
from evaluation.simulator.workload import read_trace

ScenarioName = Enum("ScenarioName", {name: name for name in BY_NAME})  # type: ignore[misc]


def main(
    *,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per scenario; 20 take an hour on two cores.")] = 4,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    scenario: Annotated[list[ScenarioName] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    trace: Annotated[
        Path,
        typer.Option(
            help="The trace, of columns t_s, prompt_tokens, output_tokens; without it Poisson with log-normal sizes.",
            show_default="../shared/data/traffic_azure2023_conv.csv.gz",
        ),
    ] = TRAFFIC,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    is_saved: Save = False,
) -> None:
    """Simulates every policy in every scenario."""
    console = Console(width=150)
    if is_saved and scenario:
        raise typer.BadParameter("the page has all scenarios, expected no --scenario beside it", param_hint=OPTION)
    try:
        recorded = trace if read_trace(trace) is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--trace") from error
    if recorded is None:
        console.print(
            f"[yellow]{trace.name}: not found (--trace FILE names another place); arrivals are Poisson instead"
        )
    names = [str(chosen.value) for chosen in scenario] if scenario else list(BY_NAME)
    tasks = [Task(name, first_seed + i, recorded) for name in names for i in range(seeds)]
    begun_s = time.perf_counter()
    with ProcessPoolExecutor(jobs) as pool:
        studies = list(track(pool.map(study, tasks), "simulating", len(tasks), console=console))
    took_s = time.perf_counter() - begun_s
    found = {name: _runs([s for s in studies if s.task.scenario == name]) for name in names}
    promised = [(name, bar) for name, runs in found.items() for bar in bars(name, runs)]
    for name, runs in found.items():
        console.print(policies_table(name, runs), reaction_line(runs) or "")
    console.print(bars_table(promised))
    count = sum(one["simulated"] for s in studies for one in s.tallies.values())
    console.print(
        f"{seeds} seeds from {first_seed} on; ± is half a 95 % confidence interval over seeds. {count:,.0f} requests "
        f"simulated in {took_s:.0f} s of wall clock ({count / took_s:,.0f} a second, {jobs} processes).\n"
        f"Arrivals: {'Poisson' if recorded is None else recorded.name}."
    )
    if is_saved:
        aims = [Aim(f"{name}: {bar.text} {bar.found.value:.3f}, {bar.limits}", bar.kept) for name, bar in promised]
        save({"seeds": seeds} | saved(found), aims)


def _runs(studies: Sequence[Study]) -> Runs:
    return {policy: [s.tallies[policy] for s in studies] for policy in studies[0].tallies}


if __name__ == "__main__":
    typer.run(main)
