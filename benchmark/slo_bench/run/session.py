"""One run from the first connection to the last write: client, guard, progress and Redis.

Each cell is written as soon as it is measured, so a stopped run leaves its results. Redis must answer before the first
request: measurements that cannot be stored would be paid for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from time import monotonic

from rich.console import Console

from slo_bench.errors import BenchError
from slo_bench.guard.budget import Budget
from slo_bench.guard.guard import Guard, open_guard
from slo_bench.load.plan import Cell, Limits, Plan
from slo_bench.measure import event_loop
from slo_bench.measure.client import Client
from slo_bench.run.estimate import CellKey, Estimate, Request, estimate
from slo_bench.run.memory import Done, Memory, ask_unknown, known_requests
from slo_bench.run.order import Forecast, Order, Outcome, Spent
from slo_bench.run.progress import Following, shown
from slo_bench.run.publish import Writer
from slo_bench.run.runner import run_plan
from slo_bench.run.telling import forecast_table, heading, warnings
from slo_bench.store import Store, linked
from slo_bench.summary.results import CellResult, judged
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient


def run(order: Order, store: Store | None, console: Console) -> Outcome:
    """Measures what is ordered and writes it to `store`, if any; plan and progress go to `console`.

    SIGTERM ends it as Ctrl-C does: locks are released. Raises BenchError where Redis does not answer at the start.
    """
    return event_loop.run(_run(order, store, console))


def foresee(order: Order, store: Store | None) -> Forecast:
    """The forecast of a run from what is known. Sends no request, and works without Redis if that does not answer."""
    return asyncio.run(_foresee(order, store))


async def _foresee(order: Order, store: Store | None) -> Forecast:
    known = await known_requests(order.plan, None, "")
    if store is not None:
        with suppress(BenchError):
            async with linked(store) as link:
                known = await known_requests(order.plan, link, store.key_prefix)
    return Forecast(Spent(0.0, 0.0), _estimate(order, order.plan, known))


async def _run(order: Order, store: Store | None, console: Console) -> Outcome:
    if store is None:
        return await _carry_out(order, {}, None, "", console)
    async with linked(store) as link:
        memory = Memory(link, store.key_prefix)
        if order.terms.fresh:
            await memory.forget(order.fingerprint)
        finished = await memory.done(order.fingerprint)
        outcome = await _carry_out(order, finished, link, store.key_prefix, console)
        if outcome.is_whole:
            with suppress(*LINK_ERRORS):  # if it fails, the next run leaves out the finished cells
                await memory.forget(order.fingerprint)
        return outcome


async def _carry_out(
    order: Order, finished: Mapping[CellKey, Done], link: AsyncClient | None, prefix: str, console: Console
) -> Outcome:
    plan, limits, began_s = order.plan.without(finished), order.limits, monotonic()
    tell = partial(console.print, soft_wrap=True)
    budget = Budget(order.terms.budget_usd, order.timeout_s)
    known = await known_requests(plan, link, prefix)

    def spent() -> Spent:
        return Spent(budget.spent_usd, monotonic() - began_s)

    async with (
        Client(order.timeout_s) as client,
        open_guard(
            client.measure, budget, order.terms, endpoints=order.endpoints, link=link, prefix=prefix, tell=tell
        ) as guard,
    ):
        if limits.warmup:
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.total_s):
                    await ask_unknown(plan.by_deployment(), known, guard, limits.concurrency, tell)
        forecast = Forecast(spent(), _estimate(order, plan, known))
        tell(heading(order))
        console.print(forecast_table(order, forecast))
        for line in warnings(order, forecast):
            tell(line)
        left = replace(limits, total_s=limits.total_s - spent().seconds)
        writer = None if link is None else Writer(link, prefix, order.fingerprint, order.limits, tell)
        measured = await measure_plan(plan, left, guard, known, writer=writer, console=console)
        results = await asyncio.to_thread(judged, measured)  # seconds for a thousand answers; locks are kept meanwhile
        if writer is not None:
            await writer.mark(results)
        return Outcome(
            plan, results, finished, guard.stopped, forecast, spent(), frozenset(budget.uncounted), guard.notes
        )


def _estimate(order: Order, plan: Plan, known: Mapping[CellKey, Request]) -> Estimate:
    return estimate(plan.by_deployment(), known, order.limits)


async def measure_plan(
    plan: Plan,
    limits: Limits,
    guard: Guard,
    known: Mapping[CellKey, Request],
    *,
    writer: Writer | None,
    console: Console,
) -> list[CellResult]:
    """Measures every cell that guard and time allow, and writes it with `writer`. `known` has every cell."""

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
