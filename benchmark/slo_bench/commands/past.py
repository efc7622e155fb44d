"""Common parts of the commands on earlier runs: their connection to Redis, and the names of earlier runs.

qwen-7b                     the deployment's last run
qwen-7b@2                   the second run before the last; @0 is the last
qwen-7b@2026-11-24          the last run until the end of that day (UTC), or until a time: @2026-11-24T03:00
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, time
from typing import TypeVar

from slo_bench.errors import BenchError
from slo_bench.gate.entry import Entry, Kind
from slo_bench.gate.history import HistoryCell, cells, latest
from slo_bench.store import Store, linked
from slo_router.contract.redis.link import AsyncClient

Result = TypeVar("Result")


def asked(store: Store, ask: Callable[[AsyncClient, str], Awaitable[Result]]) -> Result:
    """The result of `ask`, called with a connection and the key prefix. Raises BenchError where Redis fails."""

    async def _ask() -> Result:
        async with linked(store) as link:
            return await ask(link, store.key_prefix)

    return asyncio.run(_ask())


async def histories(
    link: AsyncClient, prefix: str, deployments: Sequence[str] = (), categories: Sequence[str] = ()
) -> dict[HistoryCell, Sequence[Entry]]:
    """The runs by cell, oldest first. An empty filter takes all."""
    wanted = [
        cell
        for cell in await cells(link, prefix)
        if (not deployments or cell.deployment in deployments) and (not categories or cell.category in categories)
    ]
    return {cell: await latest(link, prefix, cell) for cell in wanted}


def run_named(name: str, found: dict[HistoryCell, Sequence[Entry]]) -> dict[tuple[Kind, str], Entry]:
    """The runs that `name` means, by kind and category. Raises BenchError where there is none."""
    known = {cell.deployment for cell in found}
    deployment, _, when = (name, "", "") if name in known else name.rpartition("@")
    if deployment not in known:
        expected = ", ".join(sorted(known)) or "a deployment that was measured"
        raise BenchError(f"{name!r} has no runs in the history, expected {expected}")
    runs = {
        (cell.kind, cell.category): entry
        for cell, entries in found.items()
        if cell.deployment == deployment and (entry := _chosen(entries, when, name)) is not None
    }
    if not runs:
        raise BenchError(f"{name!r}: no run of {deployment} is that old, see slo-bench history --json")
    return runs


def _chosen(entries: Sequence[Entry], when: str, name: str) -> Entry | None:
    if not when or when.isdecimal():
        back = int(when or 0)
        return entries[-1 - back] if back < len(entries) else None
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        raise BenchError(f"{name!r}: {when!r} is no time, expected one as in 2026-11-24T03:00") from None
    if len(when) == len("2026-11-24"):
        moment = datetime.combine(moment, time.max)
    until_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return next((entry for entry in reversed(entries) if entry.at_s <= until_s), None)
