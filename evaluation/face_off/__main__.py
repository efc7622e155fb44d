"""`python -m evaluation.face_off`: the whole study, one command."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from evaluation.face_off.arrivals import Plan, arrivals
from evaluation.face_off.omniscient import route
from evaluation.face_off.outcome import Outcome
from evaluation.face_off.plot import draw
from evaluation.face_off.proxies import STRATEGIES
from evaluation.face_off.report import ALL_TO_LARGE, OMNISCIENT, by_victim, tables, together, verdicts
from evaluation.face_off.stage import Stage
from evaluation.face_off.summary import pooled
from evaluation.face_off.world import DEPLOYMENTS, PHASES, Phase

WIDTH = 190
app = typer.Typer(rich_markup_mode=None, add_completion=False)
Kept = dict[Phase, dict[str, list[list[Outcome]]]]


class Study:
    """The repeats, phase by phase; what was measured is in `results`."""

    def __init__(self, stage: Stage, plan: Plan, console: Console) -> None:
        self._stage, self._plan, self._console = stage, plan, console
        self._began_s = perf_counter()
        self.results: Kept = {phase: {OMNISCIENT: [], ALL_TO_LARGE: []} for phase in PHASES}

    def say(self, text: str) -> None:
        """A line of progress, with the seconds since the beginning."""
        self._console.print(f"[{perf_counter() - self._began_s:4.0f} s] {text}", markup=False, highlight=False)

    def repeat(self, number: int, strategies: list[str]) -> None:
        """Every phase of one repeat: the same arrivals for each strategy, in the given order of strategies."""
        asked = {phase: arrivals(phase, self._plan, str(number)) for phase in PHASES}
        for phase in PHASES:
            for name, among in ((OMNISCIENT, DEPLOYMENTS), (ALL_TO_LARGE, DEPLOYMENTS[-1:])):
                self.results[phase][name].append(route(asked[phase], phase, self._plan.seconds, among))
        for strategy in strategies:
            said = []
            for phase in PHASES:
                outcomes = self._stage.play(strategy, phase, asked[phase], self._plan.seconds)
                self.results[phase].setdefault(strategy, []).append(outcomes)
                title = f"{phase.name} {phase.victim}".strip()
                said.append(f"{title} {pooled([outcomes]).kept:.0%} of {len(outcomes)}")
            self.say(f"repeat {number + 1}, {strategy}: contract kept: {', '.join(said)}")


def _strategies(value: str) -> str:
    unknown = [name for name in value.split(",") if name not in STRATEGIES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}, expected some of {','.join(STRATEGIES)}")
    return value


def _show(study: Study, console: Console) -> None:
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    study.say(
        f"litellm {version('litellm')}; load average {load} on {os.cpu_count()} cores (the study's own is about 1)"
    )
    results = together(study.results)
    for table in (*tables(results), by_victim(study.results)):
        console.print(table)
    for phase, bar in verdicts(results):
        console.print(f"{'kept  ' if bar.kept else 'MISSED'}  {phase}: {bar.text}", markup=False, highlight=False)


@app.command()
def main(
    repeats: Annotated[int, typer.Option(help="How often everything is done, each time on other arrivals.", min=1)] = 3,
    rate: Annotated[
        float,
        typer.Option(
            help="Requests per second outside the burst. A proxy needs about 40 ms of CPU each: at 4 the burst fills "
            "it, and every strategy is late.",
            min=0.5,
        ),
    ] = 2.0,
    seconds: Annotated[float, typer.Option(help="Length of a phase.", min=3)] = 24.0,
    strategies: Annotated[str, typer.Option(metavar="NAME,NAME", help="Only these.", callback=_strategies)] = ",".join(
        STRATEGIES
    ),
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw contract kept against cost: .svg, .png.")
    ] = None,
) -> None:
    """LiteLLM's routing strategies and ours in turn on the stock proxy, before the same endpoints and requests.

    Each request has a joint contract: first token within its limit, cost per 1,000 tokens within its limit, quality at
    its floor. Phases: steady, a fourfold burst, one endpoint six times slower, one endpoint failing and hanging, the
    last two for each endpoint in its turn. The default run takes about eighty minutes and wants two idle cores.

    \b
    First see that it works, in eight minutes:
      python -m evaluation.face_off --repeats 1 --seconds 5 --strategies least-busy,slo-router
    Then the run behind the README's table and plot:
      python -m evaluation.face_off --plot docs/face_off.svg
    """
    names, console = strategies.split(","), Console(width=WIDTH)
    with ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="slo-")))
        stage = Stage(directory, names, exits)
        study = Study(stage, Plan(rate, seconds), console)
        for name in names:
            stage.start(name, exits)
            study.say(f"{name}: the proxy is up and warm")
        for number in range(repeats):
            turn = number % len(names)  # another one begins each time
            study.repeat(number, names[turn:] + names[:turn])
        for death in stage.deaths:
            study.say(f"{death}; the phase was played again")
    _show(study, console)
    if plot is not None:
        draw(together(study.results), plot)
        console.print(f"drawn into {plot}")


if __name__ == "__main__":
    app()
