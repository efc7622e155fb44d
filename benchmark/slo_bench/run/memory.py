"""What the agent remembers in Redis from one run to the next: how long cells took, and what an interrupted one did.

    {prefix}slo_bench:pace                      hash, [deployment, category] → what a request of the cell took
    {prefix}slo_bench:unfinished:{fingerprint}  hash, [deployment, category] → `Done`; gone RESUMABLE_S after the last

A cell is entered as done after its metrics were written, and the hash is deleted when the run comes to its end. A run
that is killed in between leaves it; whoever starts the same plan next (`fingerprint`) measures only what is missing.
What cannot be read is left out: it only makes the next run longer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import NamedTuple, TypeVar, cast

import msgspec

from slo_bench.run.estimate import CellKey, Request
from slo_bench.run.plan import Plan
from slo_router.contract.redis.link import AsyncClient

PACE_KEY = "slo_bench:pace"
UNFINISHED_KEY = "slo_bench:unfinished:"
RESUMABLE_S = 4 * 3_600  # older measurements are too old to stand beside new ones

Record = TypeVar("Record")


class Done(NamedTuple):
    """A cell that was measured and written at `ended_at_s` (Unix seconds)."""

    ended_at_s: float
    requests: int


def fingerprint(plan: Plan, how: Mapping[str, object]) -> str:
    """Names a plan: what is asked of whom, and `how` it is sent. No text can be read out of it."""
    cells = [
        [cell.facts.deployment_id, cell.target.model, cell.target.url, cell.category, *map(asdict, cell.prompts)]
        + [dict(one) for one in (cell.target.settings, cell.target.extra_body) if one]
        for cell in plan.cells
    ]
    return sha256(json.dumps([cells, dict(how)], sort_keys=True, default=str).encode()).hexdigest()[:16]


class Memory:
    """The agent's keys. Every method raises redis errors."""

    def __init__(self, link: AsyncClient, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    async def paces(self) -> dict[CellKey, Request]:
        """What requests took when they were last measured."""
        return _read(await self._all(PACE_KEY), Request)

    async def note_pace(self, key: CellKey, request: Request) -> None:
        """A cell was measured."""
        await self._link.hset(self._prefix + PACE_KEY, json.dumps(key), msgspec.json.encode(request).decode())

    async def done(self, plan_name: str) -> dict[CellKey, Done]:
        """The cells that an interrupted run of this plan finished."""
        return _read(await self._all(UNFINISHED_KEY + plan_name), Done)

    async def note_done(self, plan_name: str, key: CellKey, done: Done) -> None:
        """A cell was measured and its metrics are written."""
        name = self._prefix + UNFINISHED_KEY + plan_name
        async with self._link.pipeline(transaction=True) as pipe:
            pipe.hset(name, json.dumps(key), msgspec.json.encode(done).decode())
            pipe.expire(name, RESUMABLE_S)
            await pipe.execute()

    async def forget(self, plan_name: str) -> None:
        """The run has come to its end, or is to begin anew."""
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
