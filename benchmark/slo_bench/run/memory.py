"""What the agent remembers in Redis from one run to the next, and what that says about a plan.

    {prefix}slo_bench:pace                      hash, [deployment, category] → a typical request of the cell
    {prefix}slo_bench:unfinished:{fingerprint}  hash, [deployment, category] → `Done`; expires after RESUMABLE_S

A cell is entered as done after its metrics were written. The hash is deleted at the end of the run. A killed run leaves
the hash. The next run of the same plan (`fingerprint`) then measures only the missing cells. Unreadable entries are
ignored: they only make the next run longer.

A deployment without any measurement gets requests before the plan is printed: PROBES prompts of each category, at the
concurrency of the run. They are paid for, and their results are discarded, as in a warm-up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import cycle, islice
from time import time
from typing import NamedTuple, TypeVar, cast

import msgspec

from slo_bench.errors import StoppedError
from slo_bench.guard.guard import Guard
from slo_bench.guard.watch import Tell
from slo_bench.load.plan import Cell, Plan
from slo_bench.measure.stream import Sample
from slo_bench.prompts.workload import Prompt
from slo_bench.run.estimate import CellKey, Request, assumed, from_metrics, key_of, mean_prompt_tokens
from slo_router.contract.keys import PACE_KEY, UNFINISHED_KEY, metrics_key
from slo_router.contract.metrics_hash import read_metrics
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient

RESUMABLE_S = 4 * 3_600  # older measurements do not compare with new ones

Record = TypeVar("Record")


class Done(NamedTuple):
    """A cell that was measured and written at `ended_at_s` (Unix seconds)."""

    ended_at_s: float
    requests: int


def fingerprint(plan: Plan, how: Mapping[str, object]) -> str:
    """A hash of a plan: its cells and prompts, and `how` they are sent. It reveals no text."""
    cells = [
        [cell.facts.deployment_id, cell.target.model, cell.target.url, cell.category, *map(asdict, cell.prompts)]
        + [dict(one) for one in (cell.target.settings, cell.target.extra_body) if one]
        for cell in plan.cells
    ]
    return sha256(json.dumps([cells, dict(how)], sort_keys=True, default=str).encode()).hexdigest()[:16]


class Memory:
    """The agent's memory in Redis. Every method raises redis errors."""

    def __init__(self, link: AsyncClient, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    async def paces(self) -> dict[CellKey, Request]:
        """The typical request of each cell when it was last measured."""
        return _read(await self._all(PACE_KEY), Request)

    async def note_pace(self, key: CellKey, request: Request) -> None:
        """Stores the typical request of a measured cell."""
        await self._link.hset(self._prefix + PACE_KEY, json.dumps(key), msgspec.json.encode(request).decode())

    async def done(self, plan_name: str) -> dict[CellKey, Done]:
        """The cells that an interrupted run of this plan finished."""
        return _read(await self._all(UNFINISHED_KEY + plan_name), Done)

    async def note_done(self, plan_name: str, key: CellKey, done: Done) -> None:
        """Stores that a cell was measured and its metrics are written."""
        name = self._prefix + UNFINISHED_KEY + plan_name
        async with self._link.pipeline(transaction=True) as pipe:
            pipe.hset(name, json.dumps(key), msgspec.json.encode(done).decode())
            pipe.expire(name, RESUMABLE_S)
            await pipe.execute()

    async def forget(self, plan_name: str) -> None:
        """Deletes the list of finished cells."""
        await self._link.delete(self._prefix + UNFINISHED_KEY + plan_name)

    async def _all(self, name: str) -> dict[str, str]:
        return cast("dict[str, str]", await self._link.hgetall(self._prefix + name))  # replies are text


def _read(fields: Mapping[str, str], kind: type[Record]) -> dict[CellKey, Record]:
    found: dict[CellKey, Record] = {}
    for name, text in fields.items():
        try:
            deployment_id, category = msgspec.json.decode(name, type=tuple[str, str])
            found[deployment_id, category] = msgspec.json.decode(text, type=kind)
        except (msgspec.DecodeError, UnicodeEncodeError):
            continue
    return found


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
    """Replaces assumed requests in `known` by a few measured ones, except where a deployment cannot be asked."""
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

    async def one(cell: Cell, prompt: Prompt) -> Sample | None:
        async with room:
            try:
                return await guard.measure(cell.target, prompt)
            except StoppedError:
                return None

    async def category(cell: Cell) -> tuple[CellKey, Request | None]:
        return key_of(cell), _typical(cell, await asyncio.gather(*(one(cell, prompt) for prompt in _asked_of(cell))))

    found = await asyncio.gather(*(category(cell) for cell in cells))
    return {key: request for key, request in found if request is not None}


def _asked_of(cell: Cell) -> list[Prompt]:
    return list(islice(cycle(cell.prompts), PROBES))


def _typical(cell: Cell, samples: Sequence[Sample | None]) -> Request | None:
    """The mean of the answered samples. Prompt tokens are scaled to all prompts of the cell by bytes."""
    good = [sample for sample in samples if sample is not None and sample.error is None]
    e2e_s = _mean([sample.e2e_s for sample in good])
    prompt = _mean([sample.prompt_tokens for sample in good])
    completion = _mean([sample.completion_tokens for sample in good])
    if e2e_s is None or prompt is None or completion is None:
        return None
    scale = mean_prompt_tokens(cell.prompts) / mean_prompt_tokens(_asked_of(cell))
    return Request(e2e_s, prompt * scale, completion, "first requests")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


async def _by_metrics(cell: Cell, link: AsyncClient, prefix: str) -> Request | None:
    fields = cast("dict[str, str]", await link.hgetall(metrics_key(prefix, *key_of(cell))))
    metrics, _ = read_metrics(fields, time())
    return None if metrics is None else from_metrics(cell, metrics)
