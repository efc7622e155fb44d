"""What is known of a plan's requests before it is carried out: from Redis, else from a few requests, else assumed.

A deployment that nothing is known of is asked before the plan is told: PROBES prompts of each of its categories, at the
concurrency of the run. They are paid for and thrown away like a warm-up, which they also are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import time
from typing import cast

from slo_bench.errors import StoppedError
from slo_bench.operation.estimate import CellKey, Request, assumed, from_metrics, key_of
from slo_bench.operation.guard import Guard
from slo_bench.operation.memory import Memory
from slo_bench.operation.watch import Tell
from slo_bench.plan import Cell, Plan
from slo_bench.stream import Sample
from slo_router.contract import metrics_key, read_metrics
from slo_router.redis_link import LINK_ERRORS, AsyncClient

PROBES = 2  # per category


async def known_requests(plan: Plan, link: AsyncClient | None, prefix: str) -> dict[CellKey, Request]:
    """A typical request of every cell: measured earlier, or assumed. Without Redis all are assumed."""
    known = {key_of(cell): assumed(cell) for cell in plan.cells}
    if link is None:
        return known
    try:
        paces = await Memory(link, prefix).paces()
        for cell in plan.cells:
            key = key_of(cell)
            found = paces.get(key) or await _by_metrics(cell, link, prefix)
            known[key] = known[key] if found is None else found
    except LINK_ERRORS:
        return known
    return known


async def ask_unknown(
    groups: Sequence[tuple[Cell, ...]], known: dict[CellKey, Request], guard: Guard, concurrency: int, tell: Tell
) -> None:
    """Replaces what `known` assumes by what a few requests show. A deployment that cannot be asked stays assumed."""
    for cells in groups:
        unknown = [cell for cell in cells if known[key_of(cell)].basis == "assumed"]
        if not unknown:
            continue
        try:
            async with guard.deployment(cells[0].facts, tell):
                known.update(await _ask(unknown, guard, concurrency))
        except StoppedError:
            continue


async def _ask(cells: Sequence[Cell], guard: Guard, concurrency: int) -> dict[CellKey, Request]:
    room = asyncio.Semaphore(concurrency)

    async def one(cell: Cell, number: int) -> Sample | None:
        async with room:
            try:
                return await guard.measure(cell.target, cell.prompts[number % len(cell.prompts)])
            except StoppedError:
                return None

    async def category(cell: Cell) -> tuple[CellKey, Request | None]:
        return key_of(cell), _typical(await asyncio.gather(*(one(cell, number) for number in range(PROBES))))

    found = await asyncio.gather(*(category(cell) for cell in cells))
    return {key: request for key, request in found if request is not None}


def _typical(samples: Sequence[Sample | None]) -> Request | None:
    told = [
        (sample.e2e_s, sample.prompt_tokens, sample.completion_tokens)
        for sample in samples
        if sample is not None and sample.error is None
    ]
    whole = [(e2e_s, p, c) for e2e_s, p, c in told if e2e_s is not None and p is not None and c is not None]
    if not whole:
        return None
    e2e_s, prompt, completion = (sum(column) / len(whole) for column in zip(*whole, strict=True))
    return Request(e2e_s, prompt, completion, "first requests")


async def _by_metrics(cell: Cell, link: AsyncClient, prefix: str) -> Request | None:
    fields = cast("dict[str, str]", await link.hgetall(metrics_key(prefix, *key_of(cell))))
    metrics, _ = read_metrics(fields, time())
    return None if metrics is None else from_metrics(cell, metrics)
