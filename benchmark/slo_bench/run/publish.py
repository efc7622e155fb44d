"""Writes a cell's metrics into its Redis hash in one transaction: readers see either the old or the new values.

- Measured: every field of the agent is replaced, or removed if unmeasured, so that no old value has the new timestamp.
  Quality and fields of other writers stay.
- Every request failed with an excuse (see `excuses`): nothing is written.
- No request was answered: only `error_rate` is written, with its own timestamp. The last good latencies stay.
- Faulty answers are marked together with the metrics. At the end of a run, when the answers of all deployments were
  compared, `mark` removes the mark if enough answers are sound.

`Writer` writes each cell as soon as it is measured: first its metrics, then the agent's memory of it. If the run is
killed between the two, the next run measures the cell again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from slo_bench.gate.alerts import raise_alert
from slo_bench.gate.entry import Entry
from slo_bench.gate.history import HistoryCell, latest, record
from slo_bench.gate.latency import latency_entry, slowdowns
from slo_bench.guard.guard import Guard
from slo_bench.guard.watch import Tell
from slo_bench.load.plan import Limits
from slo_bench.run.estimate import from_result, key_of
from slo_bench.run.memory import Done, Memory
from slo_bench.summary.results import CellResult
from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import ANSWER_FAULT, ANSWER_FAULT_MOMENT, METRICS_FIELDS, write_metrics
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, error_kind

_QUALITY = frozenset({"quality_score", "quality_n"})
OWNED_FIELDS = METRICS_FIELDS - _QUALITY


async def publish(redis: AsyncClient, prefix: str, result: CellResult) -> None:
    """Writes one result. Raises redis.RedisError where it was not written."""
    if not result.tells:
        return
    key = metrics_key(prefix, result.cell.facts.deployment_id, result.cell.category)
    fields = write_metrics(result.metrics())
    async with redis.pipeline(transaction=True) as pipe:
        if result.measured:
            for name in sorted(OWNED_FIELDS):
                if name in fields:
                    pipe.hset(key, name, fields[name])
                else:
                    pipe.hdel(key, name)
        else:
            pipe.hset(key, "error_rate", fields["error_rate"])
            pipe.hset(key, "error_timestamp", fields["error_timestamp"])
            pipe.hsetnx(key, "schema", fields["schema"])
            pipe.hsetnx(key, "timestamp", fields["timestamp"])
        for name in (ANSWER_FAULT, ANSWER_FAULT_MOMENT):
            if name in fields:
                pipe.hset(key, name, fields[name])
        await pipe.execute()


async def mark(redis: AsyncClient, prefix: str, result: CellResult) -> None:
    """Writes or removes the answers' fault in the hash. Raises redis.RedisError."""
    if not result.tells:
        return
    key = metrics_key(prefix, result.cell.facts.deployment_id, result.cell.category)
    fault = result.verdict.fault
    if fault is not None:
        fields = write_metrics(result.metrics())
        async with redis.pipeline(transaction=True) as pipe:
            for name in (ANSWER_FAULT, ANSWER_FAULT_MOMENT):
                pipe.hset(key, name, fields[name])
            await pipe.execute()
        return
    earlier = await redis.hget(key, ANSWER_FAULT)
    if earlier is not None and result.verdict.clears(str(earlier)):
        await redis.hdel(key, ANSWER_FAULT, ANSWER_FAULT_MOMENT)


class Writer:
    """The writer of one run. `plan_name` is the plan's fingerprint."""

    def __init__(self, link: AsyncClient, prefix: str, plan_name: str, limits: Limits, tell: Tell) -> None:
        self._link = link
        self._prefix = prefix
        self._memory = Memory(link, prefix)
        self._plan_name = plan_name
        self._limits = limits
        self._tell = tell

    async def write(self, result: CellResult, guard: Guard) -> CellResult:
        """Writes one cell. Returns it with `published`: whether its metrics were written."""
        if not result.tells:
            return result
        if result.cell.facts.deployment_id in guard.lost:
            return replace(result, published=False)  # another agent may have been measuring it at the same time
        try:
            await publish(self._link, self._prefix, result)
        except LINK_ERRORS as error:
            self._tell(f"Redis did not take a result: {error_kind(error)}")
            return replace(result, published=False)
        if result.measured and result.complete:
            await self._remember(result)
        return replace(result, published=True)

    async def mark(self, results: Iterable[CellResult]) -> None:
        """Marks or clears each written cell, by its last verdict."""
        try:
            for result in results:
                if result.published:
                    await mark(self._link, self._prefix, result)
        except LINK_ERRORS as error:
            self._tell(f"Redis did not take what the answer checks found: {error_kind(error)}")

    async def _remember(self, result: CellResult) -> None:
        key, pace = key_of(result.cell), from_result(result, self._limits)
        try:
            await self._enter(latency_entry(result, self._limits))
            if pace is not None:
                await self._memory.note_pace(key, pace)
            await self._memory.note_done(self._plan_name, key, Done(result.ended_at_s, result.stats.requests))
        except LINK_ERRORS as error:
            self._tell(f"Redis did not take how far the run is: {error_kind(error)}")

    async def _enter(self, entry: Entry) -> None:
        """Adds the entry to the history, and an alert if it got slower or failed more than the run before."""
        before = await latest(self._link, self._prefix, HistoryCell(entry.kind, entry.deployment, entry.category), 1)
        await record(self._link, self._prefix, entry)
        for alert in slowdowns(before[-1], entry) if before else ():
            self._tell(alert.line())
            await raise_alert(self._link, self._prefix, alert)
