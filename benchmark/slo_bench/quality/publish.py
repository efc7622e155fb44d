"""Writes a cell's quality into the metrics hash that the router reads, and nothing else of that hash.

One MULTI/EXEC on one key: a reader, or whatever is left after a crash, has the old quality or the new, never some of
each, and the latencies of `run.publish` stay as they are, with their own `timestamp`.

`quality_timestamp` (Unix seconds) is when the oldest answer was given that the score rests on: answers may have been
kept from an earlier run. Readers drop a hash without a `timestamp`, so one that has none yet gets the same time; the
first latencies that are measured replace it.

`quality_held` comes and goes with the score: set for a run that regressed, cleared by one that is as good as the runs
before it. A run that the gate could not judge leaves it as it is.
"""

from __future__ import annotations

from slo_bench.quality.scores import CellScores
from slo_router.contract.metrics_hash import QUALITY_HELD, SCHEMA_VERSION, metrics_key
from slo_router.contract.redis.link import AsyncClient


async def publish_quality(redis: AsyncClient, prefix: str, cell: CellScores) -> None:
    """Writes a publishable cell. Raises redis.RedisError where it was not written."""
    key = metrics_key(prefix, cell.deployment_id, cell.category)
    answered_at = f"{cell.answered_at_s:.3f}"
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(key, "quality_score", f"{cell.mean:.9g}")
        pipe.hset(key, "quality_n", str(cell.n))
        pipe.hset(key, "quality_timestamp", answered_at)
        if cell.verdict == "regressed":
            pipe.hset(key, QUALITY_HELD, "1")
        elif cell.verdict in {"good", "better"}:
            pipe.hdel(key, QUALITY_HELD)
        pipe.hsetnx(key, "schema", str(SCHEMA_VERSION))
        pipe.hsetnx(key, "timestamp", answered_at)
        await pipe.execute()
