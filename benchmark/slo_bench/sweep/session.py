"""A sweep from the first connection to the last write: client, guard and Redis, one deployment at a time.

Each deployment's fit is written as soon as it is known. Redis must answer before the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from functools import partial
from typing import NamedTuple

from rich.console import Console

from slo_bench.errors import StoppedError
from slo_bench.guard.budget import Budget
from slo_bench.guard.guard import Guard, Terms, open_guard
from slo_bench.load.plan import Cell, Plan
from slo_bench.measure import event_loop
from slo_bench.measure.client import Client
from slo_bench.store import Store, linked
from slo_bench.sweep.course import Course, Grid, OnStep, Swept
from slo_bench.sweep.sweep_tables import progress_line
from slo_bench.sweep.writing import publish_fit
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient


class SweepOrder(NamedTuple):
    """What to sweep, and within which limits. `endpoints`: `lock.endpoint_of`."""

    plan: Plan
    grid: Grid
    timeout_s: float  # of each request
    total_s: float
    terms: Terms
    endpoints: Mapping[str, str]


def run(order: SweepOrder, store: Store | None, console: Console) -> list[Swept]:
    """Sweeps what is ordered and writes the fits to `store`, if any; a line for each step goes to `console`.

    SIGTERM ends it as Ctrl-C does: locks are released. Raises BenchError where Redis does not answer at the start.
    """
    return event_loop.run(_run(order, store, console))


async def _run(order: SweepOrder, store: Store | None, console: Console) -> list[Swept]:
    tell = partial(console.print, soft_wrap=True)
    budget = Budget(order.terms.budget_usd, order.timeout_s)
    deadline_s = asyncio.get_running_loop().time() + order.total_s
    prefix = "" if store is None else store.key_prefix
    async with (
        nullcontext() if store is None else linked(store) as link,
        Client(order.timeout_s) as client,
        open_guard(
            client.measure, budget, order.terms, endpoints=order.endpoints, link=link, prefix=prefix, tell=tell
        ) as guard,
    ):
        found: list[Swept] = []
        for cells in order.plan.by_deployment():
            swept = await _sweep(order, cells, guard, deadline_s, tell)
            swept.notes = tuple(guard.notes.get(swept.deployment_id, ()))
            if link is not None and swept.fit is not None:
                swept.published = await _publish(link, prefix, swept)
            found.append(swept)
        return found


async def _sweep(
    order: SweepOrder, cells: Sequence[Cell], guard: Guard, deadline_s: float, tell: Callable[[str], None]
) -> Swept:
    on_step: OnStep = lambda swept, judged: tell(progress_line(swept, judged))  # noqa: E731
    course = Course(cells, order.grid, guard.measure, on_step)
    try:
        async with AsyncExitStack() as held:
            async with asyncio.timeout_at(deadline_s):
                await held.enter_async_context(guard.deployment(cells[0].facts, tell))
            return await course.run(deadline_s)
    except TimeoutError:
        course.swept.ended_early = "the time was up"
    except StoppedError as error:
        course.swept.ended_early = str(error)
    return course.swept


async def _publish(link: AsyncClient, prefix: str, swept: Swept) -> bool:
    if swept.fit is None:
        return False
    try:
        await publish_fit(link, prefix, swept.deployment_id, swept.categories, swept.fit)
    except LINK_ERRORS:
        return False
    return True
