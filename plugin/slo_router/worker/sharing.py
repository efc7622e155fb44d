"""Lets every worker know what the others see: each writes its own key, and reads everybody else's.

    {prefix}slo_router:live:{worker}   JSON of that worker alone, gone TTL_S after it stopped writing
    {prefix}slo_router:workers         set of the worker names; a name whose key is gone is taken out

One round per refresh interval for this worker's own and one for every `AT_ONCE` others, whatever the request rate.
Nobody changes what another wrote, no clock is compared, and a worker that dies in the middle of a write has written all
or nothing.
"""

from __future__ import annotations

import uuid

import msgspec

from slo_router.contract.keys import LIVE_KEY, WORKERS_KEY
from slo_router.contract.redis.link import AsyncClient
from slo_router.live.picture import Export
from slo_router.worker.tasks.turns import give_way

TTL_S = 5
MAX_WORKERS = 1_000
MAX_BYTES = 4_000_000  # of one worker's export: more is not a worker of ours
AT_ONCE = 8  # exports that are asked for in one go


class Sharing:
    """This worker's place among the others."""

    def __init__(self, prefix: str, refresh_interval_s: float) -> None:
        self.worker = uuid.uuid4().hex
        self._workers_key = prefix + WORKERS_KEY
        self._live_key = prefix + LIVE_KEY
        self.lasts_s = TTL_S + 2 * refresh_interval_s  # what somebody said, once nothing newer comes
        self._ttl_s = round(self.lasts_s)

    async def exchange(self, client: AsyncClient, own: bytes) -> list[Export]:
        """Publishes `own`, JSON, and returns what the other workers published. Raises redis errors."""
        pipeline = client.pipeline(transaction=False)
        pipeline.set(self._live_key + self.worker, own, ex=self._ttl_s)
        pipeline.sadd(self._workers_key, self.worker)
        pipeline.smembers(self._workers_key)
        _, _, members = await pipeline.execute()
        others = sorted({str(name) for name in members} - {self.worker})[:MAX_WORKERS]
        exports: list[Export] = []
        gone: list[str] = []
        for first in range(0, len(others), AT_ONCE):
            asked = others[first : first + AT_ONCE]
            pipeline = client.pipeline(transaction=False)
            for worker in asked:
                pipeline.get(self._live_key + worker)
            answers = await pipeline.execute()
            gone += [worker for worker, answer in zip(asked, answers, strict=True) if answer is None]
            for answer in answers:
                if (export := read_export(answer)) is not None:
                    exports.append(export)
                await give_way()
        if gone:
            await client.srem(self._workers_key, *gone)
        return exports


def read_export(text: object) -> Export | None:
    """What a worker published; `None` where it is no export."""
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError):
        return None
