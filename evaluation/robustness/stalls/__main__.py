"""What becomes of requests that meet a silent server, with and without rescue: the whole study, one command."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evaluation.robustness.stalls.checks import Findings
from evaluation.robustness.stalls.fuzzing import fuzz
from evaluation.robustness.stalls.report import (
    aim_of_booking,
    aims_of,
    aims_of_hand_overs,
    nothing_wrong,
    saved,
    table_of,
)
from evaluation.robustness.stalls.stage import Slice, Stage
from evaluation.robustness.stalls.world import NAMES, NO_RESCUE, RESCUED, SILENCES, TIMEOUTS_S, Arm, arms, fixed, phases
from evaluation.shared.results import Save, conclude

TRAINING = 1_000  # the seed on which the fixed timeout is chosen
SETTINGS = {"deadline": True, "hedge": False, "budget": 0.03, "min_ms": 300, "max_ms": 30_000, "whole_answers": False}
ALL = ",".join(NAMES)


class Study:
    """Plays the arms in turns, phase by phase."""

    def __init__(self, stage: Stage, console: Console, *, requests: int, rate: float) -> None:
        self._stage, self._console = stage, console
        self._requests, self._rate = requests, rate
        self.results: dict[str, dict[str, list[Slice]]] = {}

    def slice(self, arm: Arm, phase_name: str, seed: int) -> Slice:
        """Plays and prints one arm in one phase."""
        phase = next(one for one in phases(seed) if one.name == phase_name)
        found = self._stage.play(arm, phase, requests=self._requests, rate=self._rate, seed=seed)
        said = f"{phase_name}, seed {seed}, {arm.name}: P50 {found.p50_s:.2f} s, P99 {found.p99_s:.2f} s"
        self._console.print(f"{said}, {100 * found.findings.extra:.1f} % extra calls", highlight=False)
        for example in found.findings.examples[:3]:
            self._console.print(f"    {example}", markup=False, highlight=False)
        return found

    def best_timeout_s(self, names: Sequence[str]) -> float:
        """The fixed timeout with which LiteLLM's own router loses fewest requests, and of these the lowest P99."""

        def rank(seconds: float) -> tuple[int, float]:
            arm = next(one for one in fixed(seconds) if one.proxy == "litellm")
            found = [self.slice(arm, name, TRAINING) for name in names]
            return sum(one.findings.counts["lost"] for one in found), statistics.fmean(one.p99_s for one in found)

        return min(TIMEOUTS_S, key=rank)

    def play(self, among: Sequence[Arm], names: Sequence[str], repeats: int) -> None:
        """Plays every arm in each of its phases. Each repeat begins with another arm."""
        for seed in range(repeats):
            turn = seed % len(among)
            for name in names:
                for arm in (*among[turn:], *among[:turn]):
                    if name in arm.only:
                        by_arm = self.results.setdefault(name, {})
                        by_arm.setdefault(arm.name, []).append(self.slice(arm, name, seed))


def _show(console: Console, study: Study, title: str, chaos: Findings) -> None:
    for phase in phases(0):
        if phase.name in study.results:
            console.print(table_of(phase, study.results[phase.name]))
    console.print(f"{title}: {dict(chaos.counts)}", highlight=False)
    for example in chaos.examples:
        console.print(f"    {example}", markup=False, highlight=False)


def _names(value: str) -> str:
    unknown = [name for name in value.split(",") if name and name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}, expected some of {ALL}")
    return value


def main(
    *,
    repeats: Annotated[int, typer.Option(help="How often all is done, each time with other stalls.", min=1)] = 5,
    requests: Annotated[int, typer.Option(help="Of each arm in each phase.", min=20)] = 300,
    rate: Annotated[float, typer.Option(help="Requests a second; each takes 40 ms of CPU.", min=0.5)] = 10.0,
    fuzzed: Annotated[int, typer.Option(help="Requests with random faults; 10000 tell.", min=0)] = 1_000,
    names: Annotated[str, typer.Option("--phases", metavar="NAME,NAME", callback=_names)] = ALL,
    with_rescue: Annotated[bool, typer.Option("--rescue/--no-rescue", help="Whether there is an arm with it.")] = True,
    with_peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Fixed timeouts beside it.")] = True,
    is_light: Annotated[
        bool, typer.Option("--light", help="One proxy: who is not rescued says so. No peers; CPU tells nothing.")
    ] = False,
    is_saved: Save = False,
) -> None:
    """Stalls, a server that freezes, a burst in which all are slow, and random faults, on the stock proxy.

    \b
    First see that it works, in four minutes:
      python -m evaluation.robustness.stalls --repeats 1 --requests 100 --fuzzed 200
    Then the run behind docs/evidence.md, an hour on two idle cores, once for each version of LiteLLM:
      python -m evaluation.robustness.stalls --fuzzed 10000 --save
    """
    console, settings = Console(width=190), SETTINGS if with_rescue else None
    played = [name for name in names.split(",") if name]
    with ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="slo-")))
        stage = Stage(directory, exits)
        among_ours = arms(settings, is_light=is_light)
        proxies = {name: stage.start(name, rescue) for name, rescue in {a.proxy: a.rescue for a in among_ours}.items()}
        study = Study(stage, console, requests=requests, rate=rate)
        peered = [name for name in played if name in SILENCES]
        among = list(among_ours)
        if with_peers and peered and not is_light:
            proxies["litellm"] = stage.start("litellm", None)
            among += fixed(study.best_timeout_s(peered))
        study.play(among, played, repeats)
        handed_on = stage.handed_on("on") if with_rescue else []
        last = next((arm for arm in among_ours if arm.name == RESCUED), NO_RESCUE)
        chaos = fuzz(stage, last.proxy, proxies[last.proxy], fuzzed, 0)
        booked = stage.booked()
    _show(console, study, f"random faults, {last.name}", chaos)
    console.print(f"litellm {version('litellm')}, {repeats} repeats of {requests} requests, {rate:g} a second")
    aims = [*aims_of(study.results), *aims_of_hand_overs(handed_on), aim_of_booking(booked)]
    aims += [nothing_wrong("random faults", chaos)] * (fuzzed > 0)
    figures = {"repeats": repeats, "requests": requests, "rate_per_s": rate, "booked": booked._asdict()}
    if not conclude(figures | saved(study.results) | {"random": chaos.counts}, aims, is_saved=is_saved):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
