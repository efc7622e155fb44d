"""Makes the guard of a run, and keeps asking for live traffic as long as the run lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from slo_bench.guard.budget import Budget
from slo_bench.guard.guard import Guard, Measure, Terms
from slo_bench.guard.lock import EndpointLock
from slo_bench.guard.watch import Tell, Watch
from slo_router.contract.redis.link import AsyncClient


@asynccontextmanager
async def open_guard(
    measure: Measure,
    budget: Budget,
    terms: Terms,
    *,
    endpoints: Mapping[str, str],
    link: AsyncClient | None,
    prefix: str,
    tell: Tell,
) -> AsyncIterator[Guard]:
    """A guard before `measure`. `endpoints` names each deployment's endpoint, see `lock.endpoint_of`.

    Without `link` nothing is locked, and live traffic is known from the model servers alone.
    """
    locks = {} if link is None else {name: EndpointLock(link, prefix, one) for name, one in endpoints.items()}
    watch = Watch(link, prefix, tell)
    asking = asyncio.create_task(watch.run())
    try:
        yield Guard(measure, budget, terms, locks, watch, tell=tell)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
