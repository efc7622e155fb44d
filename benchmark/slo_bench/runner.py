"""Carries out a plan: bounded concurrency within a cell, a bound on the whole, warm-up thrown away.

Deployments are measured one after another by default: on one host they would take each other's CPU or GPU, and every
figure would be a mixture. The categories of a deployment are always measured apart, for throughput belongs to one mix.
Within a cell the load is a closed loop: `concurrency` requests are in flight, each answer starts the next.

When the time is up, requests in flight are cancelled and forgotten; a cell keeps the answers it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter, time

from slo_bench.plan import Cell, Plan
from slo_bench.results import CellResult
from slo_bench.stats import summarize
from slo_bench.stream import Sample
from slo_bench.targets import Target
from slo_bench.workload import Prompt

Measure = Callable[[Target, Prompt], Awaitable[Sample]]
OnSample = Callable[[Cell, Sample], None]
OnCell = Callable[[CellResult], Awaitable[CellResult]]


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` and `warmup` (discarded requests) are per deployment; `total_s` bounds the whole run."""

    concurrency: int = 4
    warmup: int = 1
    total_s: float = 30 * 60.0
    parallel: bool = False  # all deployments at once


async def run_plan(
    plan: Plan, measure: Measure, limits: Limits, *, on_sample: OnSample, on_cell: OnCell
) -> list[CellResult]:
    """Measures every cell that time allows, in the plan's order. `on_cell` publishes a result and returns it."""
    deadline_s = asyncio.get_running_loop().time() + limits.total_s

    async def one(cells: tuple[Cell, ...]) -> list[CellResult]:
        results: list[CellResult] = []
        try:
            async with asyncio.timeout_at(deadline_s):
                warmup = islice(cycle(cells[0].prompts), limits.warmup)
                await _drain(cells[0], warmup, measure, limits.concurrency, lambda _: None)
        except TimeoutError:
            return results
        for cell in cells:
            result = await _run_cell(cell, measure, limits.concurrency, deadline_s, on_sample)
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
    cell: Cell, measure: Measure, concurrency: int, deadline_s: float, on_sample: OnSample
) -> CellResult:
    samples: list[Sample] = []

    def take(sample: Sample) -> None:
        samples.append(sample)
        on_sample(cell, sample)

    began_s, complete = perf_counter(), True
    try:
        async with asyncio.timeout_at(deadline_s):
            await _drain(cell, cell.prompts, measure, concurrency, take)
    except TimeoutError:
        complete = False
    return CellResult(cell, summarize(samples, perf_counter() - began_s), time(), complete)


async def _drain(
    cell: Cell, prompts: Iterable[Prompt], measure: Measure, concurrency: int, take: Callable[[Sample], None]
) -> None:
    """Sends every prompt, `concurrency` at a time."""
    waiting = iter(prompts)

    async def worker() -> None:
        for prompt in waiting:  # shared by the workers: each takes the next
            take(await measure(cell.target, prompt))

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
