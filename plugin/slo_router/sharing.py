"""Lets every worker know what the others see: each writes its own key, and reads everybody else's.

    {prefix}slo_router:live:{worker}   JSON of that worker alone, gone TTL_S after it stopped writing
    {prefix}slo_router:workers         set of the worker names; a name whose key is gone is taken out

One pipeline per refresh interval, whatever the request rate. Nobody changes what another wrote, no clock is compared,
and a worker that dies in the middle of a write has written all or nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from slo_router.redis_link import AsyncClient

WORKERS_KEY = "slo_router:workers"
LIVE_KEY = "slo_router:live:"
TTL_S = 5
MAX_WORKERS = 1_000
MAX_BYTES = 4_000_000  # of one worker's export: more is not a worker of ours


class Sharing:
    """This worker's place among the others."""

    def __init__(self, prefix: str, refresh_interval_s: float) -> None:
        self.worker = uuid.uuid4().hex
        self._workers_key = prefix + WORKERS_KEY
        self._live_key = prefix + LIVE_KEY
        self._ttl_s = round(TTL_S + 2 * refresh_interval_s)
        self._others: list[str] = []

    async def exchange(self, client: AsyncClient, own: Mapping[str, object]) -> list[Mapping[str, object]]:
        """Publishes `own` and returns what the other workers published. Raises redis errors."""
        asked = self._others
        pipeline = client.pipeline(transaction=False)
        pipeline.set(self._live_key + self.worker, json.dumps(own, separators=(",", ":")), ex=self._ttl_s)
        pipeline.sadd(self._workers_key, self.worker)
        pipeline.smembers(self._workers_key)
        for worker in asked:
            pipeline.get(self._live_key + worker)
        _, _, members, *answers = await pipeline.execute()
        gone = [worker for worker, answer in zip(asked, answers, strict=True) if answer is None]
        if gone:
            await client.srem(self._workers_key, *gone)
        self._others = sorted({str(name) for name in members} - {self.worker, *gone})[:MAX_WORKERS]
        return [export for answer in answers if (export := _read(answer)) is not None]


def _read(answer: object) -> Mapping[str, object] | None:
    if not isinstance(answer, str) or len(answer) > MAX_BYTES:
        return None
    try:
        export = json.loads(answer)
    except ValueError:
        return None
    return export if isinstance(export, dict) else None
