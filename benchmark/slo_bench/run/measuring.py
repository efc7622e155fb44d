"""Carries out a plan behind a guard, with progress on a console."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from rich.console import Console

from slo_bench.guard.guard import Guard
from slo_bench.run.estimate import CellKey, Request
from slo_bench.run.following import Following
from slo_bench.run.plan import Cell, Plan
from slo_bench.run.progress import shown
from slo_bench.run.runner import Limits, run_plan
from slo_bench.run.writing import Writer
from slo_bench.summary.results import CellResult


async def measure_plan(
    plan: Plan,
    limits: Limits,
    guard: Guard,
    known: Mapping[CellKey, Request],
    *,
    writer: Writer | None,
    console: Console,
) -> list[CellResult]:
    """Measures every cell that guard and time allow, and hands it to `writer`. `known` has every cell."""

    def clock(cell: Cell) -> float:
        return guard.clock(cell.facts.deployment_id)

    async def write(result: CellResult) -> CellResult:
        return result if writer is None else await writer.write(result, guard)

    following = Following(plan, known, limits, clock)

    @asynccontextmanager
    async def hold(cell: Cell) -> AsyncIterator[None]:
        try:
            async with guard.deployment(cell.facts, partial(console.print, soft_wrap=True)):
                yield
        finally:
            following.ended(cell.facts.deployment_id)

    async with shown(console, lambda: following.state(guard.budget.spent_usd)):
        return await run_plan(
            plan,
            guard.measure,
            limits,
            on_sample=following.answered,
            on_cell=write,
            hold=hold,
            clock=clock,
        )
