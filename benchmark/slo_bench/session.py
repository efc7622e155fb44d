"""One run from the first connection to the last write: client, progress bar and Redis put together.

Each cell is written as soon as it is measured, so that a run which is stopped leaves what it found. Redis is asked for
a sign of life before the first request: measurements that nobody can store would be paid for nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from slo_bench.client import Client
from slo_bench.errors import BenchError
from slo_bench.plan import Cell, Plan
from slo_bench.publish import publish
from slo_bench.results import CellResult
from slo_bench.runner import Limits, OnCell, run_plan
from slo_bench.stream import Sample
from slo_router.redis_link import LINK_ERRORS, AsyncClient, connect, masked


@dataclass(frozen=True, slots=True)
class Store:
    """Where results go."""

    redis_url: str = field(repr=False)
    key_prefix: str = ""


def run(plan: Plan, limits: Limits, timeout_s: float, store: Store | None, console: Console) -> list[CellResult]:
    """Measures a plan and writes it to `store`, if any; progress goes to `console`.

    `timeout_s` bounds each request. Raises BenchError where Redis does not answer at the start.
    """
    return asyncio.run(_run(plan, limits, timeout_s, store, console))


async def _run(plan: Plan, limits: Limits, timeout_s: float, store: Store | None, console: Console) -> list[CellResult]:
    if store is None:
        return await _measure(plan, limits, timeout_s, _keep, console)
    link = connect(store.redis_url)
    try:
        await _sign_of_life(link, store)
        return await _measure(plan, limits, timeout_s, _writer(link, store, console), console)
    finally:
        await link.aclose()


async def _measure(plan: Plan, limits: Limits, timeout_s: float, on_cell: OnCell, console: Console) -> list[CellResult]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("warm-up", total=plan.requests)

        def advance(cell: Cell, _: Sample) -> None:
            progress.update(task, advance=1, description=f"{cell.facts.deployment_id} · {cell.category}")

        async with Client(timeout_s) as client:
            return await run_plan(plan, client.measure, limits, on_sample=advance, on_cell=on_cell)


async def _sign_of_life(link: AsyncClient, store: Store) -> None:
    try:
        await link.ping()
    except LINK_ERRORS as error:
        raise BenchError(f"redis_url: {masked(store.redis_url)} does not answer: {type(error).__name__}") from error


async def _keep(result: CellResult) -> CellResult:
    return result


def _writer(link: AsyncClient, store: Store, console: Console) -> OnCell:
    async def write(result: CellResult) -> CellResult:
        try:
            await publish(link, store.key_prefix, result)
        except LINK_ERRORS as error:
            console.print(f"Redis did not take a result: {type(error).__name__}")
            return replace(result, published=False)
        return replace(result, published=True)

    return write
