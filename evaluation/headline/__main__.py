"""Everything to the largest model beside routed: cost, quality, TTFT and throughput, with recorded answers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from evaluation.emulator import EndpointSpec
from evaluation.headline.elsewhere import Worth, elsewhere, remark
from evaluation.headline.figures import Run, answered_by, figures, ratio, saved, spread
from evaluation.headline.play import Phase, arrivals
from evaluation.headline.pools import MAIN, Point, Recorded, Served, operating_point, read
from evaluation.headline.stage import Stage
from evaluation.headline.world import ONE, REPLICAS, ROUTED, SIDES, capacity_per_s, endpoints
from evaluation.shared.results import Aim, Save, Spread, conclude
from slo_router.operator.evaluating.study import Figure

QUALITY = 0.94  # of the largest model's, as in the article
COST, P99, THROUGHPUT = 0.36, 0.25, 3.2  # the article's figures, ours ÷ everything to the largest
CALM, DOUBLE, FULL = "usual load", "twice what the largest serves", "four times what it serves"
SHARES = {CALM: (0.25, 0.125), DOUBLE: (0.5, 0.5), FULL: (1.0, 1.0)}  # requests and rate as shares of FULL's
OVERLOAD = 4.0  # FULL's rate ÷ what one endpoint of the largest can serve
SETTLE_S = 10.0
ENOUGH = 0.8  # below this share of an endpoint's capacity the machine was the bottleneck
SEEDS = 5
WIDTH = 150
Played = Mapping[str, Mapping[str, list[Run]]]  # phase → side → repeats
app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Study:
    """The repeats. `runs` holds what was measured."""

    def __init__(self, world: Recorded, phases: Sequence[Phase], ttft_ms: float, console: Console) -> None:
        self.world, self._phases, self._ttft_ms, self._console = world, phases, ttft_ms, console
        self._began_s = perf_counter()
        self.runs: dict[str, dict[str, list[Run]]] = {phase.name: {side: [] for side in SIDES} for phase in phases}
        self.points: list[Point] = []

    def say(self, text: str) -> None:
        """Prints a line of progress, with the seconds since the beginning."""
        self._console.print(f"[{perf_counter() - self._began_s:4.0f} s] {text}", markup=False, highlight=False)

    def repeat(self, stage: Stage, seed: int) -> None:
        """Plays one repeat: its own split of the prompts, configuration of the plugin, and arrivals."""
        point = operating_point(self.world, seed, QUALITY)
        self.points.append(point)
        chosen = ", ".join(f"{name} {model}" for name, model in point.chosen.items())
        self.say(
            f"repeat {seed + 1}: {chosen}; on validation {point.on_validation.cost:.2f} of the largest's cost at "
            f"{point.on_validation.quality:.3f} of its quality"
        )
        stage.configure(point, str(seed))
        for phase in self._phases:
            for side, requests in stage.play(phase, arrivals(phase, point.test.tolist(), seed)).items():
                run = Run(self.world, point, phase, self._ttft_ms / 1e3, requests)
                self.runs[phase.name][side].append(run)
                one = figures([run])
                self.say(
                    f"{phase.name}, {side}: cost {one.cost:.2f}, quality {one.quality:.3f}, p99 "
                    f"{one.ttft_p99_s:.2f} s, {one.completed_per_s:.2f} completed a second, kept {one.kept:.0%}"
                )

    def drop_unfinished(self) -> None:
        """Keeps only the repeats of which every phase was played. Raises KeyboardInterrupt if there is none."""
        finished = min(len(runs) for by_side in self.runs.values() for runs in by_side.values())
        if not finished:
            raise KeyboardInterrupt
        del self.points[finished:]
        for by_side in self.runs.values():
            for runs in by_side.values():
                del runs[finished:]


def described(model: Served, spec: EndpointSpec) -> str:
    """A model with its prices, and the endpoint that serves it."""
    usd_in, usd_out = (1e6 * usd for usd in model.usd)
    return (
        f"{model.name}: {model.column}, USD {usd_in:g} and {usd_out:g} per 1M tokens, {model.output_tokens:.0f} tokens "
        f"an answer; {spec.slots} slots, TTFT {spec.ttft_ms:g} ms + {spec.prefill_us_per_token:g} µs a token, TPOT "
        f"{spec.tpot_ms:g} ms, {capacity_per_s(spec):.2f} requests a second at most"
    )


def sides(phase: Phase, by_side: Mapping[str, Sequence[Run]]) -> Table:
    """What each side did in one phase."""
    table = Table(title=f"{phase.name}: {phase.rate_per_s:.2f} requests a second, {phase.seconds:.0f} s a repeat")
    table.add_column("")
    for side in by_side:
        table.add_column(side, justify="right")
    rows = (
        ("USD per 1,000 requests", "usd_per_1k", 3, 1.0),
        ("cost ÷ the largest's", "cost", 2, 1.0),
        ("quality ÷ the largest's", "quality", 3, 1.0),
        ("TTFT p50, ms", "ttft_p50_s", 0, 1e3),
        ("TTFT p99, ms", "ttft_p99_s", 0, 1e3),
        ("completed per s", "completed_per_s", 2, 1.0),
        ("goodput per s", "goodput_per_s", 2, 1.0),
        ("contract kept, %", "kept", 0, 1e2),
        ("no token by the end, %", "unanswered", 0, 1e2),
        ("failed, %", "failed", 1, 1e2),
        ("sent late, p99, ms", "lag_p99_s", 0, 1e3),
    )
    for title, field, digits, unit in rows:
        table.add_row(title, *(scaled(spread(runs, field), unit).text(digits) for runs in by_side.values()))
    shares = (answered_by(runs) for runs in by_side.values())
    table.add_row("answered by", *("\n".join(f"{name} {part:.0%}" for name, part in one.items()) for one in shares))
    return table


def scaled(one: Spread, unit: float) -> Spread:
    """The figure multiplied by `unit`."""
    return Spread(one.value * unit, one.lowest * unit, one.highest * unit)


def ratios(played: Played) -> dict[str, dict[str, dict[str, Spread]]]:
    """Phase → peer → figure: routed ÷ peer."""
    fields = ("cost", "quality", "ttft_p50_s", "ttft_p99_s", "completed_per_s", "goodput_per_s")
    return {
        phase: {
            peer: {field: ratio(by_side[ROUTED], by_side[peer], field) for field in fields} for peer in (ONE, REPLICAS)
        }
        for phase, by_side in played.items()
    }


def compared(played: Played) -> Table:
    """The table of routed ÷ each peer, beside the article's ratios."""
    table = Table("routed ÷", "", "cost", "quality", "TTFT p50", "TTFT p99", "completed", "goodput", title="Ratios")
    for phase, peers in ratios(played).items():
        for peer, found in peers.items():
            table.add_row(peer, phase, *(one.text(3 if field == "quality" else 2) for field, one in found.items()))
    table.add_row("(the article)", "", f"{COST}", f"{QUALITY}", "", f"{P99}", f"{THROUGHPUT}", "")
    return table


def pools(found: Sequence[Worth]) -> Table:
    """The table of pools for which routing pays or does not."""
    table = Table(
        "pool", "ours", "quality", "single", "mix", "oracle", "", title=f"Cost at {QUALITY:.0%} quality, worked out"
    )
    for one in found:
        costs = (one.constant, one.mix, one.oracle)
        shown = (f"{cost.mean:.2f}" for cost in costs)
        table.add_row(one.pool, f"{one.ours.mean:.2f}", f"{one.quality.mean:.3f}", *shown, remark(one))
    return table


def aims(played: Played) -> Iterator[Aim]:
    """The aims: the article's figures."""
    found = ratios(played)
    cost, quality = (spread(played[CALM][ROUTED], field).value for field in ("cost", "quality"))
    yield Aim.at_most(COST, f"{CALM}: cost of the largest's", cost)
    yield Aim(f"quality {quality:.3f} of the largest's, at least {QUALITY:g}", quality >= QUALITY)
    yield Aim.at_most(P99, "TTFT p99 of the largest's", found[CALM][ONE]["ttft_p99_s"].value)
    more = found[FULL][ONE]["completed_per_s"].value
    yield Aim(f"{FULL}: completed {more:.2f} × the largest's, at least {THROUGHPUT:g}", more >= THROUGHPUT)


@app.command()
def main(
    *,
    repeats: Annotated[int, typer.Option(help="Each on another split of the prompts.", min=1)] = 5,
    requests: Annotated[
        int, typer.Option(help="Of a repeat under the highest load; half and a quarter of them under the lower.", min=4)
    ] = 160,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second there; absent: four times what the largest can serve.")
    ] = None,
    ttft_ms: Annotated[float, typer.Option(help="The group's SLO.", min=1)] = 1_000.0,
    is_saved: Save = False,
) -> None:
    """Everything to the largest model, on one endpoint and on as many as routing has, beside routed by the plugin.

    All three sides are stock proxies before emulated endpoints of their own, and get the same prompts at the same
    instants, under half, twice and four times the load that one endpoint of the largest can serve. A request is a
    recorded prompt; worth and cost of its answer are those recorded for the model that the proxy asked. The floors of
    the plugin's configuration are chosen on validation prompts; what is sent are test prompts, of another fold in each
    repeat. The data is not part of the project (see evaluation/shared/data.py).

    \b
    First see that it works, in five minutes:
      python -m evaluation.headline --repeats 1 --requests 24
    """
    world, console = read(MAIN), Console(width=WIDTH, highlight=False)
    most = OVERLOAD * capacity_per_s(endpoints(world)[-1]) if rate is None else rate
    phases = [Phase(name, round(part * requests), share * most, SETTLE_S) for name, (part, share) in SHARES.items()]
    study = Study(world, phases, ttft_ms, console)
    with ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="slo-")))
        stage = Stage(directory, world, ttft_ms, exits)
        try:
            for seed in range(repeats):
                study.repeat(stage, seed)
        except KeyboardInterrupt:
            study.drop_unfinished()  # finished repeats count
    others = elsewhere(QUALITY, SEEDS)
    show(study, phases, others, console)
    setting = {"pool": MAIN.name, "prompts": len(world.prompts), "repeats": len(study.points), "ttft_ms": ttft_ms}
    conclude(
        setting | kept(study, phases) | {"pools": [row(one) for one in others]}, aims(study.runs), is_saved=is_saved
    )


def show(study: Study, phases: Sequence[Phase], others: Sequence[Worth], console: Console) -> None:
    """Prints what was played, and all tables."""
    world = study.world
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    study.say(f"litellm {version('litellm')}; load average {load} on {os.cpu_count()} cores")
    console.print(f"{MAIN.name}, {len(world.prompts):,} prompts; repeats: {len(study.points)}")
    for model, spec in zip(world.models, endpoints(world), strict=True):
        console.print(described(model, spec), markup=False)
    for table in (*(sides(phase, study.runs[phase.name]) for phase in phases), compared(study.runs), pools(others)):
        console.print(table)
    console.print(held_back(study.runs, capacity_per_s(endpoints(world)[-1])))


def held_back(played: Played, most: float) -> str:
    """Says whether the endpoints were the bottleneck, or the machine on which the study runs."""
    found = spread(played[FULL][ONE], "completed_per_s").value
    said = f"{FULL}: one endpoint of the largest finished {found:.2f} of {most:.2f} requests a second"
    return said if found >= ENOUGH * most else f"{said}: this machine held it back, measure again on idle cores"


def kept(study: Study, phases: Sequence[Phase]) -> dict[str, object]:
    """The results of the repeats, as they are saved."""
    return {
        "rates": {phase.name: phase._asdict() for phase in phases},
        "phases": {name: saved(by_side) for name, by_side in study.runs.items()},
        "ratios": ratios(study.runs),
        "points": [
            {"chosen": one.chosen, "validation": one.on_validation._asdict(), "test": one.on_test._asdict()}
            for one in study.points
        ],
    }


def row(one: Worth) -> dict[str, object]:
    """A pool, as it is saved."""
    return {key: value._asdict() if isinstance(value, Figure) else value for key, value in one._asdict().items()}


if __name__ == "__main__":
    app()
