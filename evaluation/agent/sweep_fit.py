"""Does a sweep recover the numbers of an endpoint whose numbers are known, and does the router predict by them, cold?

python -m evaluation.agent.sweep_fit [--step-s 10] [--seeds 5] [--json]

The study runs in virtual time, so that the machine adds no noise. Recovered are: a, the fixed time to a first token;
b, the prefill time per token; d, the time per token of one request alone; e, its growth with each further request; and
the knee, the number of slots. Then the study sends fresh requests of lengths that were not swept: one, four and twelve
at a time. It compares their measured p95 of TTFT with the p95 that the router predicts before any live traffic. The
router predicts twice: with the fit, and from a benchmark's figures alone.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from evaluation.emulator import EndpointSpec
from evaluation.shared.virtual_time import VirtualEndpoint, VirtualLoop, run
from slo_bench.load.plan import Cell
from slo_bench.load.sending import Sender, Sent
from slo_bench.measure.targets import Measure, Target
from slo_bench.prompts.sizing import resized, vocabulary
from slo_bench.prompts.workload import Prompt, load_workload
from slo_bench.summary.percentiles import percentile
from slo_bench.sweep.course import Course, Grid, Swept
from slo_router.contract.model import Facts, Features, LatencyFit, Metrics
from slo_router.decision.prediction import View, predict
from slo_router.live.state import LiveState
from slo_router.worker.snapshot import make_snapshot

SPECS = (
    EndpointSpec(name="quick", ttft_ms=40, prefill_us_per_token=20, tpot_ms=4, tpot_growth=0.05, slots=8),
    EndpointSpec(name="wide", ttft_ms=80, prefill_us_per_token=10, tpot_ms=15, tpot_growth=0.02, slots=16),
    EndpointSpec(name="slow prefill", ttft_ms=40, prefill_us_per_token=60, tpot_ms=8, tpot_growth=0.04, slots=8),
)
LENGTHS = (128, 1_024, 4_096)
FRESH_LENGTHS = (300, 2_000, 6_000)  # tokens
LOADS = (0, 3, 11)  # other requests in flight
FRESH = 60
WORKLOAD = load_workload(None)
WORDS = vocabulary(WORKLOAD.prompts)
TARGET = Target("x", "x", "http://virtual/v1")


class Cold(NamedTuple):
    """Requests of one length at one load: TTFT at p95 as measured and as predicted, in milliseconds."""

    prompt_tokens: int
    in_flight: int
    measured_ms: float
    with_fit_ms: float
    without_ms: float


class Found(NamedTuple):
    """One sweep: relative errors of the recovered numbers, and the predictions for fresh requests."""

    errors: dict[str, float]
    cold: list[Cold]


def main(
    *,
    step_s: Annotated[float, typer.Option(min=1.0, help="Seconds of sending at each rate.")] = 10.0,
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Sweeps every endpoint and prints what was recovered and predicted."""
    found = {
        spec.name: [study(spec, Grid(LENGTHS, step_s=step_s, seed=seed)) for seed in range(seeds)] for spec in SPECS
    }
    if as_json:
        typer.echo(json.dumps({name: [one._asdict() for one in runs] for name, runs in found.items()}, indent=2))
        return
    console = Console(width=120)
    console.print(_recovery_table(found))
    for name, runs in found.items():
        console.print(_cold_table(name, runs))


def study(spec: EndpointSpec, grid: Grid) -> Found:
    """Sweeps an endpoint in virtual time, and predicts."""

    async def swept_and_asked(loop: VirtualLoop) -> Found:
        measure = VirtualEndpoint(replace(spec, seed=grid.seed), loop.time).measure
        fit = (await sweep(loop, measure, grid)).fit
        if fit is None:
            raise typer.BadParameter("too little was measured for a fit", param_hint="--step-s")
        benchmark = _metrics(await _send(loop, measure, WORKLOAD.prompts * 4, 4))
        cold = []
        for length, load in itertools.product(FRESH_LENGTHS, LOADS):
            texts = [f"{length}:{load}:{i}" for i in range(FRESH)]
            prompts = [resized(WORKLOAD.prompts[0], length * 4, WORDS, text) for text in texts]
            sent = await _send(loop, measure, prompts, load + 1)
            measured_ms = percentile(sorted(_known(one.sample.ttft_s for one in sent)), 0.95) * 1e3
            predicted = (_predicted_ms(length, load, benchmark._replace(fit=known)) for known in (fit, None))
            cold.append(Cold(length, load, measured_ms, *predicted))
        return Found(recovery(spec, fit), cold)

    return run(swept_and_asked)


async def sweep(loop: VirtualLoop, measure: Measure, grid: Grid) -> Swept:
    """Runs the agent's own sweep."""
    cells = [Cell(Facts("x", "x"), TARGET, name, WORKLOAD.of_category(name)) for name in WORKLOAD.categories]
    return await Course(cells, grid, measure, lambda _, __: None, loop.time).run(loop.time() + 3_600)


def recovery(spec: EndpointSpec, fit: LatencyFit) -> dict[str, float]:
    """Relative errors of the numbers that the endpoint states."""
    true = {
        "a": (fit.a_s, spec.ttft_ms / 1e3),
        "b": (fit.b_s_per_token, spec.prefill_us_per_token / 1e6),
        "d": (fit.d_s, spec.tpot_ms / 1e3),
        "e": (fit.e_s_per_request, spec.tpot_ms / 1e3 * spec.tpot_growth),
        "knee": (fit.knee, float(spec.slots)),
    }
    return {name: found / stated - 1 for name, (found, stated) in true.items()}


async def _send(loop: VirtualLoop, measure: Measure, prompts: Sequence[Prompt], concurrency: int) -> list[Sent]:
    sent: list[Sent] = []
    await Sender(TARGET, measure, sent.append, loop.time).closed_loop(prompts, concurrency)
    return sent


def _metrics(sent: Sequence[Sent]) -> Metrics:
    """What `slo-bench run` with its defaults would have written."""
    ttft, tpot = (
        sorted(_known(values)) for values in zip(*((s.sample.ttft_s, s.sample.tpot_s) for s in sent), strict=True)
    )
    return Metrics(0.0, fmean(ttft), median(ttft), percentile(ttft, 0.95), fmean(tpot), percentile(tpot, 0.95))


def _predicted_ms(length: int, load: int, metrics: Metrics) -> float:
    view = View(make_snapshot({"x": {"ner": metrics}}, 0.0), 0.0, random.Random(0), {"x": LiveState(elsewhere=load)})
    return (predict(Facts("x", "x"), Features("ner", "client", length, 40, 40, stream=True), view).ttft_s or 0.0) * 1e3


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _recovery_table(found: dict[str, list[Found]]) -> Table:
    table = Table(
        "endpoint", title="Recovered ÷ stated − 1: median over the seeds (lowest, highest)", title_justify="left"
    )
    for name in ("a", "b", "d", "e", "knee"):
        table.add_column(name, justify="right")
    for endpoint, runs in found.items():
        columns = ([one.errors[name] for one in runs] for name in runs[0].errors)
        table.add_row(endpoint, *(f"{median(c):+.0%} ({min(c):+.0%}, {max(c):+.0%})" for c in columns))
    return table


def _cold_table(endpoint: str, runs: Sequence[Found]) -> Table:
    title = f"{endpoint}: TTFT p95 in ms of fresh requests, median over the seeds"
    table = Table("prompt tokens", "in flight", title=title, title_justify="left")
    for name in ("measured", "with the fit", "error", "without", "error"):
        table.add_column(name, justify="right")
    for same in zip(*(one.cold for one in runs), strict=True):
        cells = [str(same[0].prompt_tokens), str(same[0].in_flight), f"{median(one.measured_ms for one in same):.0f}"]
        for values in (
            [(one.with_fit_ms, one.measured_ms) for one in same],
            [(one.without_ms, one.measured_ms) for one in same],
        ):
            cells.append(f"{median(predicted for predicted, _ in values):.0f}")
            cells.append(f"{median(predicted / measured - 1 for predicted, measured in values):+.0%}")
        table.add_row(*cells)
    return table


if __name__ == "__main__":
    typer.run(main)
