"""Writes a sweep's fit into the metrics hash of each category of the deployment, all its fields in one transaction.

Readers see either the old fit or the new one. A hash that no run has written yet gets the fit's timestamp, for readers
drop a hash without one.
"""

from __future__ import annotations

from collections.abc import Iterable

from slo_router.contract.keys import metrics_key
from slo_router.contract.latency_fit import write_fit
from slo_router.contract.metrics_hash import SCHEMA_VERSION
from slo_router.contract.model import LatencyFit
from slo_router.contract.redis.link import AsyncClient


async def publish_fit(
    redis: AsyncClient, prefix: str, deployment_id: str, categories: Iterable[str], fit: LatencyFit
) -> None:
    """Writes one fit. Raises redis.RedisError where it was not written."""
    for category in categories:
        key = metrics_key(prefix, deployment_id, category)
        async with redis.pipeline(transaction=True) as pipe:
            for name, value in write_fit(fit).items():
                pipe.hset(key, name, value)
            pipe.hsetnx(key, "schema", str(SCHEMA_VERSION))
            pipe.hsetnx(key, "timestamp", f"{fit.measured_at_s:.3f}")
            await pipe.execute()
