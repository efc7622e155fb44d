"""Writes a cell's metrics into its Redis hash, all of them at once.

One MULTI/EXEC on one key: whoever reads it, and whatever dies meanwhile, finds the old values or the new, never some of
each; and it works on a cluster, where a transaction must stay within one key.

- Measured: every field the agent owns is replaced, and one that could not be measured this time is removed, so that no
  old value hides under the new timestamp. `quality_score`, `quality_n` and fields of other writers stay.
- Nothing is known (every request failed for a reason of the agent's, see `excuses`): nothing is written.
- Not measured (no request was answered): only `error_rate` is written, with a timestamp of its own. The last good
  latencies stay, with the timestamp that tells their age. A hash without a timestamp would be dropped by its readers,
  so a new one gets the present.
- Faulty answers are marked along with the metrics. The mark is taken off at the end of a run, when the answers of all
  deployments were compared and enough of these are sound (`mark`); too few leave it as it was, and so does a run of one
  deployment where the fault shows only beside others.
"""

from __future__ import annotations

from slo_bench.summary.results import CellResult
from slo_router.contract.metrics_hash import (
    ANSWER_FAULT,
    ANSWER_FAULT_MOMENT,
    METRICS_FIELDS,
    metrics_key,
    write_metrics,
)
from slo_router.contract.redis.link import AsyncClient

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
    """Says in the hash what is wrong with the answers, or that nothing is. Raises redis.RedisError."""
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
