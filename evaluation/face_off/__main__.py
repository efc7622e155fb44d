"""LiteLLM's routing strategies and ours on the stock proxy, side by side: the whole study, one command."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
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
from evaluation.face_off.proxies import OURS, STRATEGIES
from evaluation.face_off.report import (
    ALL_TO_LARGE,
    OMNISCIENT,
    by_victim,
    saved,
    tables,
    together,
    verdicts,
    where_possible,
)
from evaluation.face_off.stage import Stage
from evaluation.face_off.summary import pooled
from evaluation.face_off.watch import Shut
from evaluation.face_off.world import GROUP, PHASES, VERBOSE_GROUP, Phase, PhaseName, dealt
from evaluation.shared.results import Aim, Save, conclude

WIDTH = 190
app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Study:
    """The repeats, phase by phase. `results` holds what was measured, by repeat."""

    def __init__(self, stage: Stage, plan: Plan, console: Console) -> None:
        self._stage, self._plan, self._console = stage, plan, console
        self._began_s = perf_counter()
        self.results: list[dict[Phase, dict[str, list[Outcome]]]] = []

    def say(self, text: str) -> None:
        """Prints a line of progress, with the seconds since the beginning."""
        self._console.print(f"[{perf_counter() - self._began_s:4.0f} s] {text}", markup=False, highlight=False)

    def repeat(self, number: int, phases: Sequence[Phase]) -> None:
        """Plays these phases one after another, on the proxies of all strategies at once."""
        found: dict[Phase, dict[str, list[Outcome]]] = {}
        self.results.append(found)
        for phase in phases:
            asked = arrivals(phase, self._plan, str(number))
            computed = {
                name: route(asked, phase, self._plan.seconds, among)
                for name, among in ((OMNISCIENT, phase.fleet), (ALL_TO_LARGE, phase.fleet[-1:]))
            }
            played = computed | self._stage.play(phase, asked, self._plan.seconds)
            found[phase] = played if phase.group == GROUP else where_possible(played)
            kept = (f"{name} {pooled([outcomes]).kept:.0%}" for name, outcomes in found[phase].items())
            title, count = f"{phase.name} {phase.victim}".strip(), len(computed[OMNISCIENT])
            self.say(f"repeat {number + 1}, {title}: contract kept of {count}: {', '.join(kept)}")

    def play(self, repeats: int, victims: int, phases: Sequence[str]) -> None:
        """The whole study."""
        for arm in self._stage.arms:
            self._stage.start(arm)
            self.say(f"{arm.strategy}: the proxy is up and warm")
        for number in range(repeats):
            self.repeat(number, [phase for phase in dealt(number, victims) if phase.name in phases])
        for death in self._stage.deaths:
            self.say(f"{death}; the phase was played again")


def _strategies(value: str) -> str:
    unknown = [name for name in value.split(",") if name not in STRATEGIES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}, expected some of {','.join(STRATEGIES)}")
    return value


def _phases(value: str) -> str:
    known = list(dict.fromkeys(phase.name for phase in PHASES))
    unknown = [name for name in value.split(",") if name not in known]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}, expected some of {','.join(known)}")
    return value


def _show(study: Study, shut: Mapping[Phase, Sequence[Shut]], console: Console) -> list[Aim]:
    """Prints the tables. Returns how the bars stand."""
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    study.say(
        f"litellm {version('litellm')}; load average {load} on {os.cpu_count()} cores (the study's own is about 1)"
    )
    results = together(study.results)
    for table in (*tables(results), by_victim(study.results)):
        console.print(table)
    by_name: dict[PhaseName, list[Shut]] = {}
    for phase, found in shut.items():
        by_name.setdefault(phase.name, []).extend(found)
    return verdicts(results, by_name)


@app.command()
def main(
    *,
    repeats: Annotated[int, typer.Option(help="How often everything is done, each time on other arrivals.", min=1)] = 2,
    rate: Annotated[
        float,
        typer.Option(
            help="Requests per second outside the burst, to each proxy. One takes about 40 ms of CPU: at 4 the burst "
            "fills two cores, and every strategy is late.",
            min=0.5,
        ),
    ] = 2.0,
    seconds: Annotated[float, typer.Option(help="Length of a phase.", min=3)] = 20.0,
    victims: Annotated[
        int,
        typer.Option(help="To how many endpoints a slowdown or an outage happens in a repeat, in their turn.", min=1),
    ] = 1,
    phases: Annotated[str, typer.Option(metavar="NAME,NAME", help="Only these.", callback=_phases)] = ",".join(
        dict.fromkeys(phase.name for phase in PHASES if phase.group != VERBOSE_GROUP)
    ),
    strategies: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="These, all at once.", callback=_strategies)
    ] = f"latency-based-routing,least-busy,{OURS}",
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw contract kept against cost, as SVG.")] = None,
    is_saved: Save = False,
) -> None:
    """LiteLLM's routing strategies and ours on stock proxies side by side, each before endpoints of its own.

    Each request has a joint contract: its time within a limit (the first token's, or that of a whole answer), cost per
    1,000 tokens within a limit, quality at a floor. Phases of streamed chats: steady, a fourfold burst, one endpoint
    six times slower, one endpoint failing and hanging, one that stalls and freezes. Phases of all kinds of traffic:
    mixed, and one endpoint out of credit; by its name alone, verbose: models that differ in verbosity. The default run
    takes twelve minutes and wants two idle cores.

    \b
    First see that it works, in four minutes:
      python -m evaluation.face_off --repeats 1 --seconds 5 --strategies least-busy,slo-router
    Then the run behind the table and the plot of docs/evidence.md, half an hour:
      python -m evaluation.face_off --repeats 4 --victims 2 --plot docs/face_off.svg
    """
    names, console = strategies.split(","), Console(width=WIDTH)
    with ExitStack() as exits:
        stage = Stage(Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="slo-"))), names, exits)
        study = Study(stage, Plan(rate, seconds), console)
        study.play(repeats, victims, phases.split(","))
    aims, results = _show(study, stage.shut, console), together(study.results)
    if plot is not None:
        draw(results, plot)
        console.print(f"drawn into {plot}")
    setting = {"repeats": repeats, "rate_per_s": rate, "seconds": seconds, "deaths": stage.deaths}
    conclude(setting | saved(results), aims, is_saved=is_saved)


if __name__ == "__main__":
    app()
