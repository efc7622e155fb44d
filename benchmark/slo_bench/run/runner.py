"""Runs a plan: with bounded concurrency in a cell, a time limit, and a warm-up whose results are discarded.

Deployments are measured one after another by default, for on one host they would compete for CPU or GPU. The categories
of a deployment are always measured one after another. The load of a cell is a closed loop, or an open loop if arrivals
are given.

When the time is up, requests in flight are cancelled, and a cell keeps the answers it has. If `measure` raises
StoppedError, the deployment gets no further request, and those in flight may end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import cycle, islice
from time import perf_counter, time

from slo_bench.checks.cells import answers_of, judged_alone
from slo_bench.errors import StoppedError
from slo_bench.load.plan import Cell, Limits, Plan
from slo_bench.load.sending import Sender, Sent
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Measure
from slo_bench.summary.lag import lag_of
from slo_bench.summary.results import CellResult
from slo_bench.summary.stats import summarize

OnSample = Callable[[Cell, Sample], None]
OnCell = Callable[[CellResult], Awaitable[CellResult]]
Hold = Callable[[Cell], AbstractAsyncContextManager[None]]
Clock = Callable[[Cell], float]


@asynccontextmanager
async def unheld(_: Cell) -> AsyncIterator[None]:
    """Holds nothing while a deployment is measured."""
    yield


def wall_clock(_: Cell) -> float:
    """A clock on which every second counts."""
    return perf_counter()


async def run_plan(
    plan: Plan,
    measure: Measure,
    limits: Limits,
    *,
    on_sample: OnSample,
    on_cell: OnCell,
    hold: Hold = unheld,
    clock: Clock = wall_clock,
) -> list[CellResult]:
    """Measures every cell that time allows, in the plan's order.

    `on_cell` publishes a result and returns it. `hold` is entered with a deployment's first cell while the deployment
    is measured; it may raise StoppedError. `clock` gives the seconds that count in a cell's wall time.
    """
    deadline_s = asyncio.get_running_loop().time() + limits.total_s

    async def one(cells: tuple[Cell, ...]) -> list[CellResult]:
        results: list[CellResult] = []
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout_at(deadline_s):
                    await held.enter_async_context(hold(cells[0]))
                    warmup = islice(cycle(cells[0].prompts), limits.warmup)
                    await Sender(cells[0].target, measure, lambda _: None).closed_loop(warmup, limits.concurrency)
            except (TimeoutError, StoppedError):
                return results
            for cell in cells:
                result = await _run_cell(cell, measure, limits, deadline_s=deadline_s, on_sample=on_sample, clock=clock)
                if result.stats.requests:
                    results.append(await on_cell(result))
                if not result.complete:
                    break
        return results

    groups = plan.by_deployment()
    if limits.parallel:
        found = await asyncio.gather(*(one(cells) for cells in groups))
    else:
        found = [await one(cells) for cells in groups]
    return [result for results in found for result in results]


async def _run_cell(
    cell: Cell, measure: Measure, limits: Limits, *, deadline_s: float, on_sample: OnSample, clock: Clock
) -> CellResult:
    sent: list[Sent] = []

    def take(one: Sent) -> None:
        sent.append(one)
        on_sample(cell, one.sample)

    sender = Sender(cell.target, measure, take)
    began_s, complete = clock(cell), True
    try:
        async with asyncio.timeout_at(deadline_s):
            if limits.arrivals is None:
                await sender.closed_loop(cell.prompts, limits.concurrency)
            else:
                await sender.open_loop(cell.prompts, limits.arrivals)
    except (TimeoutError, StoppedError):
        complete = False
    stats = summarize([one.sample for one in sent], clock(cell) - began_s, cell.slo)
    answers = answers_of((one.prompt, one.sample) for one in sent)
    lag, verdict = lag_of(one.lag_s for one in sent), judged_alone(answers)
    return CellResult(cell, stats, time(), complete, lag=lag, answers=answers, verdict=verdict)
