"""The earlier runs, in Redis: one bounded stream per kind, deployment and category, and an index of the streams.

    {prefix}slo_bench:history                                  set of JSON arrays [kind, deployment, category]
    {prefix}slo_bench:history:{kind}:{deployment}:{category}   stream, field `entry` = JSON, oldest dropped first

The index is written first. A stream that is not in the index would be lost; an index entry alone does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from slo_bench.gate.entry import Entry, Kind, decoded, encode
from slo_router.contract.keys import HISTORY_KEY, history_key
from slo_router.contract.redis.link import AsyncClient

KEPT = 120  # entries per stream: four months of nightly runs, about 1.5 MB for a suite of 500 items


class HistoryCell(NamedTuple):
    """The key of a history: a kind of run of one deployment in one category."""

    kind: Kind
    deployment: str
    category: str

    def key(self, prefix: str) -> str:
        """The name of its stream in Redis."""
        return history_key(prefix, self.kind, self.deployment, self.category)


async def record(link: AsyncClient, prefix: str, entry: Entry) -> None:
    """Adds a run. Raises redis.RedisError where it was not written, ValueError where a number is not finite."""
    cell, text = HistoryCell(entry.kind, entry.deployment, entry.category), encode(entry)
    await link.sadd(prefix + HISTORY_KEY, msgspec.json.encode(cell).decode())
    await link.xadd(cell.key(prefix), {"entry": text}, maxlen=KEPT, approximate=False)


async def cells(link: AsyncClient, prefix: str) -> list[HistoryCell]:
    """Every cell with a history, sorted. Malformed members of the index are left out."""
    found: list[HistoryCell] = []
    for member in await link.smembers(prefix + HISTORY_KEY):
        with suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(member, type=HistoryCell))
    return sorted(found)


async def latest(link: AsyncClient, prefix: str, cell: HistoryCell, count: int = KEPT) -> Sequence[Entry]:
    """The last `count` entries, oldest first. Unreadable entries are left out."""
    rows = await link.xrevrange(cell.key(prefix), count=count) or []
    entries = (decoded((fields or {}).get("entry"), Entry) for _, fields in reversed(rows))
    return [entry for entry in entries if entry is not None]
